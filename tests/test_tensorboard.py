"""Event files for TensorBoard, read back by a little reader of protocol buffers."""

import struct
import threading

import numpy as np
import pytest

import flambeau as torch
from flambeau.utils.tensorboard import SummaryWriter, events, model_graph, summary
from flambeau.utils.tensorboard import messages as m


def records(path):
    """The payloads of an event file, whose checksums are looked at."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12])[0] == events.masked_crc(data[:8])
        found.append(data[12 : 12 + length])
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == events.masked_crc(found[-1])
        data = data[16 + length :]
    return found


def fields(data):
    """The fields of a message: number -> the values that it has, numbers or bytes."""
    found, at = {}, 0

    def varint():
        nonlocal at
        n = shift = 0
        while True:
            n |= (data[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not data[at - 1] & 0x80:
                return n

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        elif key & 7 == 2:
            n = varint()
            value, at = data[at : at + n], at + n
        else:
            form, n = {1: ("<d", 8), 5: ("<f", 4)}[key & 7]
            (value,), at = struct.unpack(form, data[at : at + n]), at + n
        found.setdefault(key >> 3, []).append(value)
    return found


def values_of(folder):
    """The summaries in a folder, as (step, fields of the value)."""
    (path,) = folder.glob("events.*")
    read = [fields(record) for record in records(path)]
    return [(event.get(2, [0])[0], fields(value)) for event in read if 5 in event for value in fields(event[5][0])[1]]


def test_checksums():
    # RFC 3720, B.4: the CRC-32C of 32 bytes of zeros is 8A9136AA.
    rotated = (0x8A9136AA >> 15 | 0x8A9136AA << 17) & 0xFFFFFFFF
    assert events.masked_crc(bytes(32)) == (rotated + 0xA282EAD8) & 0xFFFFFFFF


def test_numbers(tmp_path):
    with SummaryWriter(tmp_path, purge_step=2) as writer:
        writer.add_scalar("loss", torch.tensor(0.5), 3)
        writer.add_scalar("new", 1.5, 4, new_style=True, double_precision=True)
        writer.add_scalars("both", {"a": 1.0, "b": 2.0}, 1)
        writer.add_tensor("all", torch.arange(6.0).view(2, 3), 1)
        writer.add_histogram("weights", torch.tensor([-1.0, 0.5, 0.5]), 4, bins=[-2, 0, 1, 2])
    (path,) = tmp_path.glob("events.*")
    first, again, start = [fields(record) for record in records(path)][:3]
    assert first[3] == again[3] == [b"brain.Event:2"]
    assert again[2] == start[2] == [2]
    (s1, loss), (_, new), (_, all), (s2, weights) = values_of(tmp_path)
    assert (s1, loss[1], loss[2]) == (3, [b"loss"], [0.5])
    assert struct.unpack("<d", fields(new[8][0])[6][0]) == (1.5,)
    assert np.frombuffer(fields(all[8][0])[5][0], "<f4").tolist() == [0, 1, 2, 3, 4, 5]
    histogram = fields(weights[5][0])
    assert (s2, histogram[1], histogram[2], histogram[3], histogram.get(4), histogram[5]) == (4, [-1.0], [0.5], [3.0], None, [1.5])
    assert np.frombuffer(histogram[6][0]).tolist() == [-2, 0, 1]
    assert np.frombuffer(histogram[7][0]).tolist() == [0, 1, 2]
    assert {p.parent.name for p in tmp_path.glob("*/events.*")} == {"both_a", "both_b"}


def test_pictures_sounds_and_text(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_image("picture", torch.rand(3, 4, 5))
        writer.add_image("grey", torch.rand(4, 5), dataformats="HW")
        writer.add_images("batch", torch.rand(10, 3, 4, 5))
        writer.add_audio("sound", torch.rand(100), sample_rate=8000)
        writer.add_text("note", "hello")
    read = dict((value[1][0], value) for _, value in values_of(tmp_path))
    sizes = {name: [fields(read[name][4][0])[i][0] for i in (1, 2, 3)] for name in (b"picture", b"grey", b"batch")}
    assert sizes == {b"picture": [4, 5, 3], b"grey": [4, 5, 3], b"batch": [8, 40, 3]}
    assert fields(read[b"picture"][4][0])[4][0].startswith(b"\x89PNG")
    sound = fields(read[b"sound"][6][0])
    assert (sound[1], sound[3], sound[4][0][:4]) == ([8000.0], [100], b"RIFF")
    assert fields(read[b"note/text_summary"][8][0])[8] == [b"hello"]


def test_precision_over_recall():
    rows = summary.compute_curve(np.array([0, 1, 1, 0]), np.array([0.1, 0.8, 0.6, 0.7]), 3)
    # thresholds 0, 0.5 and 1: everything, three of four, nothing
    assert rows.tolist() == [[2, 2, 0], [2, 1, 0], [0, 1, 2], [0, 0, 2], [0.5, 2 / 3, 0], [1, 1, 0]]


def test_settings_are_a_run_of_their_own(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_hparams({"lr": 0.1, "name": "adam", "none": None}, {"accuracy": 0.9}, run_name="run", global_step=5)
        with pytest.raises(TypeError, match="should be dictionary"):
            writer.add_hparams([], {})
    tags = [value[1][0] for _, value in values_of(tmp_path / "run")]
    assert tags == [b"_hparams_/experiment", b"_hparams_/session_start_info", b"_hparams_/session_end_info", b"accuracy"]
    with pytest.raises(TypeError, match="list of same type"):
        summary.hparams({"n": 1}, {}, {"n": ["a"]})


def test_points_for_the_projector(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_embedding(
            torch.tensor([[1.0, 2.5], [3.0, 4.0]]), metadata=["a", "b"], label_img=torch.rand(2, 3, 4, 6), tag="e/x"
        )
        with pytest.raises(AssertionError, match="labels should equal"):
            writer.add_embedding(torch.ones(2, 3), metadata=["a"], global_step=1)
    folder = tmp_path / "00000" / "e%2fx"
    assert (folder / "tensors.tsv").read_text() == "1.0\t2.5\n3.0\t4.0\n"
    assert (folder / "metadata.tsv").read_text() == "a\nb\n"
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert 'tensor_name: "e/x:00000"' in config and "single_image_dim: 6\n    single_image_dim: 4\n" in config


def test_graphs():
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    graph, _ = model_graph.graph(net, torch.ones(2, 4))
    nodes = {node.name: node for node in graph.node}
    assert [(n.name, n.op) for n in graph.node] == [
        ("input/0", "IO Node"), ("Sequential/Linear[0]/weight", "Parameter"), ("Sequential/Linear[0]/bias", "Parameter"),
        ("Sequential/Linear[0]/3", "aten::linear"), ("Sequential/ReLU[1]/4", "aten::relu"), ("output/output.1", "IO Node"),
    ]  # fmt: skip
    assert nodes["Sequential/ReLU[1]/4"].input == ["Sequential/Linear[0]/3"]
    assert net.training and not net[0]._forward_hooks


def test_events_are_on_the_disk_once_enough_wait(tmp_path, monkeypatch):
    timers = []
    monkeypatch.setattr(threading, "Timer", lambda seconds, function: timers.append(seconds) or threading.Thread(target=function))
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    monkeypatch.setattr(threading.Thread, "cancel", lambda self: None, raising=False)
    with SummaryWriter(tmp_path, max_queue=2, flush_secs=7) as writer:
        (path,) = tmp_path.glob("events.*")
        sizes = [path.stat().st_size]
        for i in range(3):
            writer.add_scalar("loss", i, i)
            sizes.append(path.stat().st_size)
    assert sizes[0] == sizes[1] == sizes[2] < sizes[3]
    assert set(timers) == {7}


def test_a_closed_writer_begins_another_file(tmp_path):
    writer = SummaryWriter(tmp_path)
    writer.close()
    writer.add_scalar("late", 1.0)
    writer.close()
    writer.close()
    assert len(list(tmp_path.glob("events.*"))) == 2


def test_messages_refuse_fields_that_they_have_not():
    with pytest.raises(ValueError, match='has no "colour" field'):
        m.Image(colour=3)
