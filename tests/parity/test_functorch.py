"""``functorch``, the package from before ``torch.func``; maps and scans of ``torch._higher_order_ops``."""

import pytest

torch = pytest.importorskip("torch")
import functorch as theirs  # noqa: E402
from torch._higher_order_ops.associative_scan import associative_scan  # noqa: E402
from torch._higher_order_ops.map import map as torch_map  # noqa: E402
from torch._higher_order_ops.scan import scan  # noqa: E402

import flambeau  # noqa: E402
from flambeau._functorch import make_functional as ours  # noqa: E402
from flambeau._higher_order_ops import loops  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # PyTorch's, of what moved to torch.func


def net(t):
    t.manual_seed(0)
    return t.nn.Sequential(t.nn.Linear(3, 2), t.nn.BatchNorm1d(2)).eval()


def test_modules_as_functions():
    results = []
    for t, module in ((flambeau, ours), (torch, theirs)):
        model, x = net(t), t.ones(4, 3)
        func, params, buffers = module.make_functional_with_buffers(model)
        plain, weights = module.make_functional(model[0], disable_autograd_tracking=True)
        grads = t.func.grad(lambda p: func(p, buffers, x).sum())(params)  # noqa: B023
        results.append(
            [
                type(func).__name__,
                type(plain).__name__,
                func.param_names,
                params[0] is model[0].weight,
                [p.requires_grad for p in (*params, *weights)],
            ]
            + [v.tolist() for v in (func(params, buffers, x), plain(weights, x), *grads)]
        )
        with pytest.raises(RuntimeError, match="has buffers"):
            module.make_functional(model)
    assert results[0][:5] == results[1][:5]
    for a, b in zip(results[0][5:], results[1][5:], strict=True):
        assert torch.allclose(torch.tensor(a), torch.tensor(b), atol=1e-6)


def test_ensembles():
    results = []
    for t, module in ((flambeau, ours), (torch, theirs)):
        t.manual_seed(0)
        func, params, buffers = module.combine_state_for_ensemble([t.nn.Linear(3, 2) for _ in range(4)])
        out = t.vmap(func, (0, 0, None))(params, buffers, t.ones(3))
        results.append(([p.requires_grad for p in params], out.requires_grad, torch.tensor(out.tolist())))
        with pytest.raises(RuntimeError, match="at least one model"):
            module.combine_state_for_ensemble([])
    assert results[0][:2] == results[1][:2] and torch.allclose(results[0][2], results[1][2], atol=1e-6)


LOOPS = {
    "map": lambda t, f: f["map"](lambda a, b: a * b + 1, t.arange(6.0).reshape(3, 2), t.tensor(2.0)),
    "scan": lambda t, f: f["scan"](lambda c, y: (c + y, c * y), t.zeros(2), t.arange(6.0).reshape(3, 2)),
    "scan backwards": lambda t, f: f["scan"](lambda c, y: (c + y, c * y), t.zeros(2), t.arange(6.0).reshape(3, 2), reverse=True),
    "scan of columns": lambda t, f: f["scan"](lambda c, y: (c + y, c * y), t.zeros(3), t.arange(6.0).reshape(3, 2), dim=1),
    "sums": lambda t, f: f["associative_scan"](t.add, t.arange(6.0).reshape(2, 3), 1, combine_mode="generic"),
    "sums backwards": lambda t, f: f["associative_scan"](
        t.add, t.arange(6.0).reshape(2, 3), 0, reverse=True, combine_mode="generic"
    ),
    "recurrence": lambda t, f: f["associative_scan"](
        lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1]), (t.full((3, 2), 0.5), t.ones(3, 2)), 0, combine_mode="generic"
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_maps_and_scans(name):
    own = LOOPS[name](flambeau, vars(loops))
    expected = LOOPS[name](torch, {"map": torch_map, "scan": scan, "associative_scan": associative_scan})
    flat = torch.utils._pytree.tree_leaves(expected)
    assert [x.tolist() for x in flambeau.utils._pytree.tree_leaves(own)] == [x.tolist() for x in flat]
