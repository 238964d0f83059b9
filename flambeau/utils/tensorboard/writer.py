"""``SummaryWriter``: what programs call."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import mul
from pathlib import Path
from typing import Any

from flambeau.utils.tensorboard import messages as m
from flambeau.utils.tensorboard import projector, summary
from flambeau.utils.tensorboard.events import EventFileWriter
from flambeau.utils.tensorboard.images import figure_to_image, make_np

__all__ = ["FileWriter", "SummaryWriter"]


class FileWriter:
    """Writes messages to an event file in ``log_dir``; they are on the disk once ``max_queue`` wait, and after ``flush_secs``."""

    def __init__(self, log_dir: Any, max_queue: int = 10, flush_secs: float = 120, filename_suffix: str = "") -> None:
        self.event_writer = EventFileWriter(str(log_dir), max_queue, flush_secs, filename_suffix)

    def get_logdir(self) -> str:
        """The folder."""
        return self.event_writer.get_logdir()

    def add_event(self, event: Any, step: Any = None, walltime: float | None = None) -> None:
        """Writes an event, of ``walltime`` (now)."""
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        self.event_writer.add_event(event)

    def add_summary(self, summary: Any, global_step: Any = None, walltime: float | None = None) -> None:
        """Writes a summary."""
        self.add_event(m.Event(summary=summary), global_step, walltime)

    def add_graph(self, graph_profile: tuple[Any, Any], walltime: float | None = None) -> None:
        """Writes a graph, and how long its parts took."""
        graph, stepstats = graph_profile
        self.add_event(m.Event(graph_def=graph.SerializeToString()), None, walltime)
        metadata = m.TaggedRunMetadata(tag="step1", run_metadata=stepstats.SerializeToString())
        self.add_event(m.Event(tagged_run_metadata=metadata), None, walltime)

    def add_onnx_graph(self, graph: Any, walltime: float | None = None) -> None:
        """Writes a graph alone."""
        self.add_event(m.Event(graph_def=graph.SerializeToString()), None, walltime)

    def flush(self) -> None:
        """Writes everything to the disk."""
        self.event_writer.flush()

    def close(self) -> None:
        """Writes everything, and closes the file."""
        self.event_writer.close()

    def reopen(self) -> None:
        """Begins another file after :meth:`close`."""
        self.event_writer.reopen()


class SummaryWriter:
    """Writes what a training run tells of itself to event files in ``log_dir``, which TensorBoard shows.

    ``log_dir``: a folder; without one it is ``runs/<date>_<host><comment>``. ``purge_step``: a run that begins again at this step
    hides what was written for it and for later ones. ``max_queue``: how many events wait at most until they are written, and
    ``flush_secs`` how long. ``filename_suffix``: the end of the files' names. ``with`` closes it.

    >>> import tempfile
    >>> from flambeau.utils.tensorboard import SummaryWriter
    >>> with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
    ...     writer.add_scalar("loss", 0.5, 1)

    Source: https://docs.pytorch.org/docs/stable/tensorboard.html
    """

    def __init__(
        self, log_dir: str | os.PathLike | None = None, comment: str = "", purge_step: int | None = None,
        max_queue: int = 10, flush_secs: float = 120, filename_suffix: str = "",
    ) -> None:  # fmt: skip
        if not log_dir:
            log_dir = os.path.join("runs", f"{time.strftime('%b%d_%H-%M-%S')}_{socket.gethostname()}{comment}")
        self.log_dir, self.purge_step = log_dir, purge_step
        self.max_queue, self.flush_secs, self.filename_suffix = max_queue, flush_secs, filename_suffix
        self.file_writer: FileWriter | None = None
        self.all_writers: dict[str, FileWriter] | None = None
        self._projector_config = ""
        self._get_file_writer()
        positive = list(accumulate([1e-12, *[1.1] * 773], mul))
        self.default_bins = [-edge for edge in reversed(positive)] + [0.0] + positive

    def _new_writer(self, folder: Any) -> FileWriter:
        return FileWriter(folder, self.max_queue, self.flush_secs, self.filename_suffix)

    def _get_file_writer(self) -> FileWriter:
        """The writer of ``log_dir``, another one after :meth:`close`."""
        if self.file_writer is None:
            self.file_writer = self._new_writer(self.log_dir)
            self.all_writers = {self.file_writer.get_logdir(): self.file_writer}
            if self.purge_step is not None:
                self.file_writer.add_event(m.Event(step=self.purge_step, file_version="brain.Event:2"))
                self.file_writer.add_event(m.Event(step=self.purge_step, session_log=m.SessionLog(status=1)))
                self.purge_step = None
        return self.file_writer

    def get_logdir(self) -> str | os.PathLike:
        """The folder."""
        return self.log_dir

    def _add(self, message: Any, step: Any = None, walltime: float | None = None) -> None:
        self._get_file_writer().add_summary(message, step, walltime)

    # --- numbers -----------------------------------------------------------------------------------------------

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: Any = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """Adds one point of the curve ``tag``."""
        self._add(summary.scalar(tag, scalar_value, new_style=new_style, double_precision=double_precision), global_step, walltime)

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: Any = None, walltime: float | None = None
    ) -> None:
        """Adds a point to each of several curves in one diagram; each is a run of its own in a folder of that name."""
        top = self._get_file_writer().get_logdir()
        assert self.all_writers is not None
        for tag, value in tag_scalar_dict.items():
            folder = f"{top}/{main_tag.replace('/', '_')}_{tag}"
            if folder not in self.all_writers:
                self.all_writers[folder] = self._new_writer(folder)
            self.all_writers[folder].add_summary(summary.scalar(main_tag, value), global_step, walltime)

    def add_tensor(self, tag: str, tensor: Any, global_step: Any = None, walltime: float | None = None) -> None:
        """Adds a whole tensor."""
        self._add(summary.tensor_proto(tag, tensor), global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: Any = None,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Adds how often values occur; ``bins`` as in ``numpy.histogram``, or ``"tensorflow"`` for exponential ones."""
        bins = self.default_bins if isinstance(bins, str) and bins == "tensorflow" else bins
        self._add(summary.histogram(tag, values, bins, max_bins), global_step, walltime)

    def add_histogram_raw(
        self, tag: str, min: float, max: float, num: int, sum: float, sum_squares: float, bucket_limits: Any, bucket_counts: Any, global_step: Any = None,
        walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Adds a histogram that has been counted.

        Raises:
            ValueError: there are not as many counts as right ends of buckets.
        """
        if len(bucket_limits) != len(bucket_counts):
            raise ValueError("len(bucket_limits) != len(bucket_counts), see the document.")
        self._add(summary.histogram_raw(tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts), global_step, walltime)

    # --- pictures and sounds -------------------------------------------------------------------------------------

    def add_image(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: float | None = None, dataformats: str = "CHW"
    ) -> None:
        """Adds a picture of bytes, or of numbers from 0 to 1; ``dataformats`` names its dimensions."""
        self._add(summary.image(tag, img_tensor, dataformats=dataformats), global_step, walltime)

    def add_images(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: float | None = None, dataformats: str = "NCHW"
    ) -> None:
        """Adds a batch of pictures beside each other, in rows of eight."""
        self._add(summary.image(tag, img_tensor, dataformats=dataformats), global_step, walltime)

    def add_image_with_boxes(
        self, tag: str, img_tensor: Any, box_tensor: Any, global_step: Any = None, walltime: float | None = None, rescale: float = 1, dataformats: str = "CHW",
        labels: str | Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        """Adds a picture with frames on it: rows of left, top, right and bottom in pixels. Needs Pillow."""
        labels = [labels] if isinstance(labels, str) else labels
        if labels is not None and len(labels) != box_tensor.shape[0]:
            labels = None
        self._add(summary.image_boxes(tag, img_tensor, box_tensor, rescale, dataformats, labels), global_step, walltime)

    def add_figure(self, tag: str, figure: Any, global_step: Any = None, close: bool = True, walltime: float | None = None) -> None:
        """Adds a figure of matplotlib, or a list of them as one picture."""
        picture = figure_to_image(figure, close)
        self.add_image(tag, picture, global_step, walltime, dataformats="NCHW" if isinstance(figure, list) else "CHW")

    def add_video(self, tag: str, vid_tensor: Any, global_step: Any = None, fps: float = 4, walltime: float | None = None) -> None:
        """Adds videos (n, time, channels, height, width) of bytes, or of numbers from 0 to 1. Needs Pillow."""
        self._add(summary.video(tag, vid_tensor, fps), global_step, walltime)

    def add_audio(
        self, tag: str, snd_tensor: Any, global_step: Any = None, sample_rate: int = 44100, walltime: float | None = None
    ) -> None:
        """Adds a sound: numbers from -1 to 1."""
        self._add(summary.audio(tag, snd_tensor, sample_rate), global_step, walltime)

    # --- text, graphs, points ------------------------------------------------------------------------------------

    def add_text(self, tag: str, text_string: str, global_step: Any = None, walltime: float | None = None) -> None:
        """Adds a text in Markdown."""
        self._add(summary.text(tag, text_string), global_step, walltime)

    def add_graph(self, model: Any, input_to_model: Any = None, verbose: bool = False, use_strict_trace: bool = True) -> None:
        """Adds the graph of a module's operations, of one call with ``input_to_model``; ``verbose`` prints it."""
        from flambeau.utils.tensorboard.model_graph import graph

        self._get_file_writer().add_graph(graph(model, input_to_model, verbose))

    def add_onnx_graph(self, prototxt: str | os.PathLike) -> None:
        """Adds the graph of a file of ONNX's. Needs the package ``onnx``."""
        from flambeau.utils.tensorboard.model_graph import onnx_graph

        self._get_file_writer().add_onnx_graph(onnx_graph(prototxt))

    def add_embedding(
        self, mat: Any, metadata: Sequence | None = None, label_img: Any = None, global_step: int | None = None, tag: str = "default",
        metadata_header: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        """Adds points for the projector.

        Args:
            mat: (n, dimensions).
            metadata: n labels, or n rows of labels under the columns of ``metadata_header``.
            label_img: n pictures (n, channels, height, width) of numbers from 0 to 1.
        """
        points, step = make_np(mat), 0 if global_step is None else global_step
        top = Path(self._get_file_writer().get_logdir())
        folder = f"{str(step).zfill(5)}/{self._encode(tag)}"
        if (top / folder).is_dir():
            print("warning: Embedding dir exists, did you set global_step for add_embedding()?")
        elif (top / folder).exists():
            raise NotADirectoryError(f"Path: `{top / folder}` exists, but is a file. Cannot proceed.")
        (top / folder).mkdir(parents=True, exist_ok=True)
        if metadata is not None:
            if len(points) != len(metadata):
                raise AssertionError("#labels should equal with #data points")
            projector.write_metadata(metadata, top / folder, metadata_header)
        if label_img is not None:
            if len(points) != len(label_img):
                raise AssertionError("#images should equal with #data points")
            projector.write_sprite(label_img, top / folder)
        if points.ndim != 2:
            raise AssertionError("mat should be 2D, where mat.size(0) is the number of data points")
        projector.write_points(points, top / folder)
        size = None if label_img is None else (label_img.shape[3], label_img.shape[2])
        self._projector_config += projector.entry(folder, step, tag, metadata is not None, size)
        (top / "projector_config.pbtxt").write_text(self._projector_config)

    @staticmethod
    def _encode(rawstr: str) -> str:
        """``rawstr`` as a folder's name, as PyTorch makes it."""
        for character in "%/\\":  # "%" first: the codes of the others have one
            rawstr = rawstr.replace(character, f"%{ord(character):02x}")
        return rawstr

    # --- charts --------------------------------------------------------------------------------------------------

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: Any = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Adds precision over recall, of labels that are 0 or 1 and predicted probabilities."""
        self._add(summary.pr_curve(tag, labels, predictions, num_thresholds, weights), global_step, walltime)

    def add_pr_curve_raw(
        self, tag: str, true_positive_counts: Any, false_positive_counts: Any, true_negative_counts: Any, false_negative_counts: Any, precision: Any, recall: Any,
        global_step: Any = None, num_thresholds: int = 127, weights: Any = None, walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Adds precision over recall, of counts at each threshold."""
        counts = true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts
        self._add(summary.pr_curve_raw(tag, *counts, precision, recall, num_thresholds, weights), global_step, walltime)

    def add_custom_scalars(self, layout: Mapping[str, Mapping[str, Sequence]]) -> None:
        """Says which curves are drawn together: category -> title -> ``["Multiline", tags]`` or
        ``["Margin", [value, lower, upper]]``."""
        self._add(summary.custom_scalars(layout))

    def add_custom_scalars_multilinechart(self, tags: Sequence[str], category: str = "default", title: str = "untitled") -> None:
        """One diagram of several curves."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(self, tags: Sequence[str], category: str = "default", title: str = "untitled") -> None:
        """One diagram of a curve between two others."""
        if len(tags) != 3:
            raise AssertionError(f"Expected 3 tags, got {len(tags)}.")
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Mapping | None = None,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Adds points in space (n, points, 3), with colours and the triangles between them where these are given."""
        self._add(summary.mesh(tag, vertices, colors, faces, config_dict), global_step, walltime)

    def add_hparams(
        self, hparam_dict: Mapping[str, Any], metric_dict: Mapping[str, Any], hparam_domain_discrete: Mapping[str, list] | None = None, run_name: str | None = None,
        global_step: Any = None,
    ) -> None:  # fmt: skip
        """Adds settings and what came of them as a run of its own, ``run_name``, to be compared with others.

        Raises:
            TypeError: ``hparam_dict`` or ``metric_dict`` is no dict.
        """
        if type(hparam_dict) is not dict or type(metric_dict) is not dict:
            raise TypeError("hparam_dict and metric_dict should be dictionary.")
        messages = summary.hparams(hparam_dict, metric_dict, hparam_domain_discrete)
        folder = os.path.join(self._get_file_writer().get_logdir(), run_name or str(time.time()))
        with SummaryWriter(log_dir=folder) as writer:
            for message in messages:
                writer._add(message, global_step)
            for name, value in metric_dict.items():
                writer.add_scalar(name, value, global_step)

    # --- the end -------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Writes everything to the disk."""
        for writer in (self.all_writers or {}).values():
            writer.flush()

    def close(self) -> None:
        """Writes everything, and closes the files; what is added later goes to new ones."""
        for writer in (self.all_writers or {}).values():
            writer.close()
        self.file_writer = self.all_writers = None

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
