"""The examples in docstrings are true of PyTorch as well: the same lines print the same there."""

from __future__ import annotations

import doctest
import warnings

import pytest

pytest.importorskip("torch")

from tests.test_docstrings import CLASSES, OPS  # noqa: E402

OTHERWISE = {
    "Tensor.laid_out_as": "flambeau's own",
    "nn.functional.grouped_mm": "PyTorch's kernel asks for strides of 16 bytes",
    "ExpRelaxedCategorical": "torch.distributions does not list it",
    "LogitRelaxedBernoulli": "torch.distributions does not list it",
}
EXAMPLES = {
    **{function.op.name: function.__doc__ for function in OPS if not function.op.name.startswith("torchvision.")},
    **{cls.__name__: cls.__doc__ for cls in CLASSES},
}


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - OTHERWISE.keys()))
def test_example(name):
    text = EXAMPLES[name].replace("flambeau", "torch")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runner.run(doctest.DocTestParser().get_doctest(text, {}, name, None, None), out=report.append)
    assert not runner.failures, "".join(report)
