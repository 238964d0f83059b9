"""``torch._foreach_*`` beside PyTorch's: each name, with each form of its arguments."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

NAMES = sorted(name for name in dir(torch) if name.startswith("_foreach_"))
_WORDS = {
    "Tensor": "t",
    "Tensor[]": "ts",
    "Scalar": "s",
    "Scalar[]": "ss",
    "number": "s",
    "List[Tensor]": "ts",
    "List[number]": "ss",
}


def forms(name):
    for schema in torch._C._jit_get_schemas_for_operator(f"aten::{name}"):
        kinds = [_WORDS.get(str(a.type)) for a in schema.arguments]
        if "out" not in schema.overload_name and not schema.is_mutable or name.endswith("_"):
            if "out" not in schema.overload_name:
                yield [k for k, a in zip(kinds, schema.arguments, strict=True) if k and not a.kwarg_only]


@pytest.mark.parametrize("name", NAMES)
def test_like_torch(name):
    checked = 0
    for kinds in forms(name):
        results = []
        for t in (torch, flambeau):
            t.manual_seed(0)
            shapes = [(2, 2), (2, 2)] if "mm" in name else [(3,), (2, 2)]
            made = {"t": t.tensor(0.5), "s": 0.5, "ss": [0.25, 1.5]}
            if "addc" in name:
                made["t"] = t.tensor([0.5, 2.0])
            arguments = [[t.rand(s) + 0.1 for s in shapes] if k == "ts" else made[k] for k in kinds]
            given = arguments[0] if isinstance(arguments[0], list) else arguments[1]
            returned = getattr(t, name)(*arguments)
            results.append([[v.tolist() for v in (returned or [])], [v.tolist() for v in given], type(returned).__name__])
        assert results[1][2] == results[0][2]
        for a, b in zip(results[0][:2], results[1][:2], strict=True):
            for x, y in zip(a, b, strict=True):
                torch.testing.assert_close(torch.tensor(y), torch.tensor(x))
        checked += 1
    assert checked


def test_gradients_and_errors():
    for t in (torch, flambeau):
        x = t.ones(2, requires_grad=True)
        a, b = t._foreach_mul([x, x], [2.0, 3.0])
        (a + b).sum().backward()
        assert x.grad.tolist() == [5.0, 5.0]
        with pytest.raises(RuntimeError, match="same number of tensors, got 2 and 1"):
            t._foreach_add([x, x], [x])
        with pytest.raises(RuntimeError, match="same number of elements as scalar list"):
            t._foreach_add([x, x], [1.0])
        with pytest.raises(RuntimeError, match="at least one tensor"):
            t._foreach_add([], 1)
        with pytest.raises(TypeError):
            t._foreach_add(x, 1)
        assert [v.tolist() for v in t._foreach_add([t.ones(1)], [t.ones(1)], alpha=2)] == [[3.0]]
