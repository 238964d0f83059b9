"""Measurements and tables of ``torch.utils.benchmark`` against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.utils.benchmark as theirs  # noqa: E402

import flambeau.utils.benchmark as ours  # noqa: E402


def measurements(library, seed: int) -> list:
    rng = np.random.default_rng(seed)
    found = []
    scale = 10.0 ** -int(rng.integers(0, 8))
    for label in ("ops", None)[: int(rng.integers(1, 3))]:
        for threads in (1, 4)[: int(rng.integers(1, 3))]:
            for env in ("old", "newer")[: int(rng.integers(1, 3))]:
                for name in ("add", "a longer name"):
                    for size in ("10", "1000", "a description"):
                        if rng.random() < 0.8:
                            times = (
                                scale * rng.uniform(1, 100) * (1 + rng.random(int(rng.integers(1, 30))) * rng.choice([0.001, 0.5]))
                            ).tolist()
                            spec = library.TaskSpec("x + 1", "pass", "", label, name, size, env, threads)
                            found.append(library.Measurement(2, times, spec))
    return found


@pytest.mark.parametrize("seed", range(30))
def test_measurements_and_tables(seed):
    for a, b in zip(measurements(ours, seed), measurements(theirs, seed), strict=True):
        assert repr(a).split("\n", 1)[1] == repr(b).split("\n", 1)[1]
        assert (a.median, a.mean, a.iqr) == pytest.approx((b.median, b.mean, b.iqr))
        assert (a.significant_figures, a.has_warnings, a.title, a.as_row_name) == (
            b.significant_figures,
            b.has_warnings,
            b.title,
            b.as_row_name,
        )
    for settings in ("", "trim_significant_figures", "highlight_warnings", "trim_significant_figures highlight_warnings"):
        tables = []
        for library in (ours, theirs):
            table = library.Compare(measurements(library, seed))
            for setting in settings.split():
                getattr(table, setting)()
            tables.append("\n".join(line.rstrip() for line in str(table).splitlines()))
        assert tables[0] == tables[1]


def test_timer():
    import flambeau

    timer = ours.Timer("torch.ones(3) + y", setup="y = torch.ones(3)", label="sum", globals={"unused": 1})
    for measured in (timer.timeit(50), timer.blocked_autorange(min_run_time=0.01), timer.adaptive_autorange(max_run_time=0.05)):
        assert measured.median > 0 and measured.label == "sum" and measured.num_threads == 1
    with pytest.raises(NotImplementedError, match="Valgrind"):
        timer.collect_callgrind()
    with pytest.raises(ValueError, match="Python statements only"):
        ours.Timer("x", language="c++")
    assert [ours.trim_sigfig(x, n) for x in (123.456, 9.99) for n in (1, 2)] == [
        theirs.trim_sigfig(x, n) for x in (123.456, 9.99) for n in (1, 2)
    ]
    assert flambeau.get_num_threads() >= 1
