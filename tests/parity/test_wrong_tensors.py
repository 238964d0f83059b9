"""Every op says with PyTorch's words which argument should be a tensor and is not."""

from __future__ import annotations

import re
import types

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402
from tests.parity.samples import as_torch, replaced  # noqa: E402
from tests.wrong_tensors import PUBLIC, calls, told  # noqa: E402

WORDS = re.compile(r"(\w+)\(\): argument '(\w+)'( \(position \d+\))? must be Tensor, not ([\w.]+)")


def get(library, name):
    for part in name.split("."):
        library = getattr(library, part, None)
    return library


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", [op for op in PUBLIC if get(torch, op.name) is not None], ids=lambda op: op.name)
def test_words(op):
    theirs = get(torch, op.name)
    written_in_python = isinstance(theirs, types.FunctionType)  # which says what is wrong in the functions that it calls
    for place, args, kwargs, wrongs in calls(op):
        known: dict = {}
        theirs_args = replaced(args, lambda x, known=known: as_torch(known, x))
        theirs_kwargs = replaced(kwargs, lambda x, known=known: as_torch(known, x))
        for wrong, put in wrongs:
            name, text = told(theirs, *put(theirs_args, theirs_kwargs))
            words = WORDS.match(text)
            if name != "TypeError" or words is None and not text.startswith("expected Tensor as"):
                continue
            our_name, our_text = told(op.function, *put(args, kwargs))
            if not our_name and isinstance(wrong, (int, list, type(None))) or type(wrong).__module__ == "numpy":
                continue  # flambeau computes with it
            assert our_name == "TypeError", (place, wrong, text, our_name, our_text)
            if words is None:
                assert our_text == text
                continue
            ours = WORDS.match(our_text)
            assert ours is not None, (text, our_text)
            assert ours[4] == words[4]
            if not written_in_python and words[1].removeprefix("_").startswith(op.short_name):
                assert (ours[1], ours[3]) == (words[1], words[3]), (text, our_text)
                if words[2] in op.check.__code__.co_varnames:
                    assert ours[2] == words[2]


def test_methods():
    for call in ("x.maximum('a')", "x.mul_('a')", "x.index_add_(0, 'a', x + 1)", "torch.maximum(x, 'a')", "torch.maximum(x, other='a')",
                 "torch.cat([x, 1])", "torch.Tensor.view('a', 2)", "x.gather(0, None)", "torch.special.i0e(())", "x.sub_('a')"):  # fmt: skip
        ours, theirs = [told(eval, (call, {"torch": library, "x": library.ones(2)}), {}) for library in (flambeau, torch)]
        assert ours == theirs
