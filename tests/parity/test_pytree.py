"""Nests against PyTorch's ``torch.utils._pytree``."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

torch = pytest.importorskip("torch")

import torch.utils._pytree as theirs  # noqa: E402

import flambeau.utils._pytree as ours  # noqa: E402

Point = namedtuple("Point", "x y")
for t in (ours, theirs):
    t._register_namedtuple(Point, serialized_type_name="Point")
NESTS = {
    "leaf": 1, "none": None, "tuple": (1, (2, 3)), "list": [1, [], [2]], "dict": {"b": 1, "a": {"c": 2}}, "empty": {},
    "ordered": OrderedDict(b=1, a=2), "default": defaultdict(list, {"b": 1, "a": [2]}), "deque": deque([1, 2], maxlen=3),
    "named": Point(1, Point(2, [3])), "mixed": {"a": (1, [2, None]), "b": 3},
}  # fmt: skip


@pytest.fixture(params=list(NESTS))
def nest(request):
    return NESTS[request.param]


def both(run):
    a, b = run(ours), run(theirs)
    assert a == b
    return a


def test_leaves_structures_and_text(nest):
    assert both(lambda t: t.tree_unflatten([x for x in t.tree_leaves(nest)], t.tree_structure(nest))) == nest
    both(lambda t: (t.tree_leaves(nest), list(t.tree_iter(nest)), repr(t.tree_structure(nest)), t.tree_is_leaf(nest)))
    both(
        lambda t: [getattr(t.tree_structure(nest), name) for name in ("num_leaves", "num_nodes", "num_children", "type", "context")]
    )
    both(lambda t: t.treespec_dumps(t.tree_structure(nest)))
    for t in (ours, theirs):
        assert t.treespec_loads(t.treespec_dumps(t.tree_structure(nest))) == t.tree_structure(nest)
        assert t.tree_structure(nest).is_leaf() is (nest in (1, None))


def test_maps(nest):
    both(lambda t: t.tree_map(lambda x: (x, 1), nest))
    both(lambda t: t.tree_map(lambda x, y: [x, y], nest, nest))
    both(lambda t: t.tree_map_only(int, lambda x: x + 1, nest))
    both(lambda t: t.tree_map_only(lambda x: x is None, lambda x: 7, nest))
    both(lambda t: t.tree_map(str, nest, is_leaf=lambda x: isinstance(x, (list, Point))))
    both(
        lambda t: (
            t.tree_all(bool, nest),
            t.tree_any(bool, nest),
            t.tree_all_only(int, bool, nest),
            t.tree_any_only(int, bool, nest),
        )
    )
    both(lambda t: t.tree_structure(nest).flatten_up_to(nest))
    both(lambda t: t._broadcast_to_and_flatten(5, t.tree_structure(nest)))


def test_paths(nest):
    both(lambda t: [(t.keystr(path), leaf) for path, leaf in t.tree_flatten_with_path(nest)[0]])
    both(lambda t: t.tree_map_with_path(lambda path, x: (t.keystr(path), x), nest))
    both(lambda t: [repr(path) for path, _ in t.tree_leaves_with_path(nest)])
    for t in (ours, theirs):
        assert all(t.key_get(nest, path) is leaf for path, leaf in t.tree_leaves_with_path(nest))


@pytest.mark.parametrize("other", [(1,), [1, 2], {"a": 1}, {"a": 1, "c": 2}, Point(1, 2), 3])
@pytest.mark.parametrize("first", [(1, 2), [1, 2], {"a": 1, "b": 2}, Point(3, 4), {"a": [1], "b": 2}])
def test_structures_that_do_not_fit(first, other):
    def run(t):
        try:
            return t.tree_map(lambda x, y: (x, y), first, other)
        except ValueError:
            return ValueError

    both(run)


def test_classes_of_users():
    for t in (ours, theirs):

        @dataclasses.dataclass
        class Data:
            x: object
            y: object = None

        t.register_dataclass(Data, serialized_type_name=f"{t.__name__}.Data")
        t.register_constant(int_like := type("Fixed", (), {"__eq__": lambda a, b: type(a) is type(b), "__hash__": lambda a: 1}))
        leaves, spec = t.tree_flatten([Data(1, (2, 3)), Data(4), int_like()])
        assert leaves == [1, 2, 3, 4] and spec.unflatten(leaves)[0] == Data(1, (2, 3)) and spec.unflatten(leaves)[1] == Data(4)
        assert [t.keystr(path) for path, _ in t.tree_leaves_with_path(Data(1, [2]))] == [".x", ".y[0]"]
        with pytest.raises(ValueError, match="already registered"):
            t.register_pytree_node(Data, None, None)
        assert t.treespec_loads(t.treespec_dumps(t.tree_structure(Data(1)))) == t.tree_structure(Data(1))


def test_results_of_ops_and_named_structures():
    import flambeau

    spec = ours.tree_structure(flambeau.tensor([1.0, 2.0]).max(0))
    assert spec.num_leaves == 2 and type(spec.unflatten([1, 2])).__name__ == "max"
    both(
        lambda t: [
            repr(s) for s in (t.treespec_leaf(), t.treespec_tuple([t.treespec_leaf()]), t.treespec_dict(a=t.treespec_leaf()))
        ]
    )
    assert isinstance(ours.treespec_leaf(), ours.LeafSpec) and not isinstance(ours.treespec_tuple(), ours.LeafSpec)
