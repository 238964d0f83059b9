"""Files of ONNX's as modules: ONNX's own cases of each operator, files that flambeau's export wrote, and graphs made by hand.

``python -m tests.test_onnx_import`` counts the cases that pass, and lists the others by what they say.
"""

from __future__ import annotations

import collections
import functools
import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from flambeau.onnx.importing.graph import held  # noqa: E402
from flambeau.onnx.importing.host import HOST  # noqa: E402
from flambeau.onnx.importing.registry import RULES, OnnxError, array_of, to_tensor  # noqa: E402

NOT_HERE = {
    "numbers of less than a byte": "U?INT[24]|FLOAT4|quantizelinear_u?int[24]|quantizelinear_float4|bitcast_.*int4",
    "strings": "string|strnorm|regex|tfidf|label_encoder",
    "pictures as files": "image_decoder",
    "random numbers": "bernoulli|training_dropout_(default|zero_ratio)?(_mask)?$|training_dropout$|training_dropout_mask$",
    "operators that are not there yet": "linear_attention|causal_conv|melweight",
    "rounded after other steps": "attention_.*(bf16|fp16)",
    "exponents alone": "e8m0",
    "casts that overflow": "no_saturate_.*E4M3FN$|no_saturate_.*E4M3FNUZ$",
    "scans of version 8": "^test_scan_sum$",
    "greatest samples": "roialign_mode_max",
}
"""What cases are about that are left out, and their names."""


@functools.cache
def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        made = collect_testcases(None)
    return [case for case in made if all(o.domain in ("", "ai.onnx") for o in case.model.opset_import)]


def value(x: Any) -> Any:
    """What a case gives, as what a model takes."""
    if isinstance(x, list):
        return [value(one) for one in x]
    return to_tensor(onnx.numpy_helper.to_array(x) if isinstance(x, TensorProto) else x)


def check(case: Any) -> None:
    """That the model of a case gives what the case says."""
    model = torch.onnx.load(case.model)
    for inputs, outputs in case.data_sets:
        found = model(*[value(x) for x in inputs])
        found = found if isinstance(found, tuple) else (found,)
        assert len(found) == len(outputs)
        for one, want in zip(found, outputs):
            # In a spectrum what cancels is as far from 0 as the rounding of its greatest numbers, about a bit of float32.
            atol = 1e-7 * float(np.abs(want).max()) if case.name.startswith("test_dft") else case.atol
            compare(one, want, case.rtol, atol)


def compare(found: Any, want: Any, rtol: float, atol: float) -> None:
    if isinstance(want, list):
        assert len(found) == len(want)
        for one, part in zip(found, want):
            compare(one, part, rtol, atol)
        return
    if want is None:
        assert found is None
        return
    want = onnx.numpy_helper.to_array(want) if isinstance(want, TensorProto) else np.asarray(want)
    found = array_of(found) if isinstance(found, torch.Tensor) else np.asarray(found)
    assert (found.dtype, found.shape) == (want.dtype, want.shape)
    if want.dtype.kind in "fV":
        found, want = found.astype(np.float64), want.astype(np.float64)
    np.testing.assert_allclose(found, want, rtol, atol)


def left_out(name: str) -> str | None:
    return next((why for why, names in NOT_HERE.items() if re.search(names, name)), None)


def test_cases_of_onnx() -> None:
    """Those that are not made of other operators. One test, since ONNX makes all its cases at once."""
    wrong, operators = {}, set()
    for case in cases():
        if case.name.endswith("_expanded") or left_out(case.name):
            continue
        try:
            check(case)
        except Exception as error:
            wrong[case.name] = f"{type(error).__name__}: {error}"
        operators |= {node.op_type for node in case.model.graph.node}
    assert not wrong
    assert len(operators & RULES.keys()) >= 160


# --- files of flambeau's own ------------------------------------------------------------------------------------

NETS: dict[str, Any] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2), nn.Softmax(-1)), (3, 4)),
    "cnn": (lambda: nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)), (2, 3, 8, 8)),
    "transformer": (lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (2, 5, 16)),
}  # fmt: skip


def exported(name: str) -> tuple[nn.Module, Any, bytes]:
    torch.manual_seed(0)
    make, shape = NETS[name]
    net, file = make().eval(), io.BytesIO()
    x = torch.randn(shape)
    torch.onnx.export(net, (x,), file, input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}})
    return net, x, file.getvalue()


@pytest.mark.parametrize("name", NETS)
def test_exported_and_loaded(name: str, tmp_path: Path) -> None:
    net, x, content = exported(name)
    (tmp_path / "model.onnx").write_bytes(content)
    for source in (tmp_path / "model.onnx", str(tmp_path / "model.onnx"), io.BytesIO(content)):
        model = torch.onnx.load(source)
        assert not model.training and model.input_names == ["x"] and model.output_names == ["y"]
        for given in (x, torch.cat([x, -x])):
            np.testing.assert_allclose(model(given).detach().numpy(), net(given).detach().numpy(), rtol=1e-4, atol=1e-5)
            assert torch.equal(model(x=given), model(given))


def test_it_can_be_trained_and_saved() -> None:
    _, x, content = exported("mlp")
    model = torch.onnx.load(io.BytesIO(content))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    losses = []
    for _ in range(20):
        loss = (model(x)[:, 0] - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    again = torch.onnx.load(io.BytesIO(content))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(x), model(x))


# --- graphs made by hand ----------------------------------------------------------------------------------------


def graph(
    nodes: list[Any],
    inputs: dict[str, list[Any]],
    outputs: list[str],
    opset: int = 21,
    constants: dict[str, np.ndarray] | None = None,
    **others: Any,
) -> Any:
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in inputs.items()],
        [helper.make_tensor_value_info(k, TensorProto.UNDEFINED, None) for k in outputs],
        [onnx.numpy_helper.from_array(v, k) for k, v in (constants or {}).items()],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset), *others.pop("domains", [])], **others)


def test_sizes_are_known_without_running_anything() -> None:
    """Shape, Gather, Concat and Reshape of a batch of any size: the trace that is pending stays pending."""
    from flambeau.engine import graph as traces

    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Shape", ["r"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["r", "shape"], ["y"]),
    ]
    constants = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    model = torch.onnx.load(graph(nodes, {"x": ["N", 2, 3]}, ["y"], constants=constants))
    for n in (2, 5):
        x = torch.randn(n, 2, 3)
        x.sum().item()
        pending = len(traces.trace)
        y = model(x)
        assert y.shape == (n, 6) and len(traces.trace) > pending


@pytest.mark.parametrize("name", sorted(HOST))
def test_numbers_that_stay_here_are_those_of_the_rules(name: str) -> None:
    a, b = np.array([7, -7, 9, 2]), np.array([2, 2, -4, 5])
    inputs: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "Concat": ([a, b], {"axis": 0}),
        "Gather": ([a, np.array([0, -1])], {}),
        "Identity": ([a], {}),
        "Neg": ([a], {}),
        "Not": ([a > 0], {}),
        "Reshape": ([a, np.array([2, -1])], {}),
        "Slice": ([a, np.array([-1]), np.array([-100]), np.array([0]), np.array([-2])], {}),
        "Squeeze": ([a[None], np.array([0])], {}),
        "Transpose": ([a.reshape(2, 2)], {"perm": [1, 0]}),
        "Unsqueeze": ([a, np.array([0, -1])], {}),
        "Where": ([a > 0, a, b], {}),
    }
    given, settings = inputs.get(name, ([a], {"keepdims": 1}) if name.startswith("Reduce") else ([a, b], {}))
    here = np.asarray(HOST[name](*given, **settings))
    if name == "Identity":
        assert here is given[0]
        return
    by_rule = array_of(RULES[name]([to_tensor(x) for x in given], settings, 21, 1))
    assert (here.dtype, here.shape, here.tolist()) == (by_rule.dtype, by_rule.shape, by_rule.tolist())


def test_a_loop_around_a_branch() -> None:
    """Adds the round's number while the sum is below ten: values of outside are seen inside."""
    then = helper.make_graph(
        [helper.make_node("Add", ["sum", "x"], ["more"])],
        "then",
        [],
        [helper.make_tensor_value_info("more", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["sum"], ["same"])],
        "else",
        [],
        [helper.make_tensor_value_info("same", TensorProto.FLOAT, None)],
    )
    body = helper.make_graph(
        [
            helper.make_node("Less", ["sum", "ten"], ["low"]),
            helper.make_node("If", ["low"], ["next"], then_branch=then, else_branch=other),
            helper.make_node("Identity", ["low"], ["go"]),
            helper.make_node("Identity", ["next"], ["seen"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("go", "next", "seen")],
    )
    nodes = [helper.make_node("Loop", ["count", "", "x"], ["last", "all"], body=body)]
    model = torch.onnx.load(
        graph(nodes, {"x": []}, ["last", "all"], constants={"count": np.array(9), "ten": np.array(10, np.float32)})
    )
    last, every = model(torch.tensor(3.0))
    assert last.item() == 12.0 and every.tolist() == [6.0, 9.0, 12.0, 12.0]


def test_functions_of_the_file() -> None:
    scale = helper.make_function(
        "own", "Scaled", ["a"], ["b"],
        [helper.make_node("Constant", [], ["k"], value_float=3.0), helper.make_node("Mul", ["a", "k"], ["b"])], [helper.make_opsetid("", 21)],
    )  # fmt: skip
    nodes = [helper.make_node("Scaled", ["x"], ["y"], domain="own")]
    model = torch.onnx.load(graph(nodes, {"x": [2]}, ["y"], functions=[scale], domains=[helper.make_opsetid("own", 1)]))
    assert model(torch.tensor([1.0, 2.0])).tolist() == [3.0, 6.0]


def test_what_is_not_known_is_named_at_once() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Strange", ["a"], ["b"], domain="far"),
        helper.make_node("TfIdfVectorizer", ["b"], ["y"], mode="TF"),
    ]
    with pytest.raises(OnnxError, match="TfIdfVectorizer, far.Strange"):
        torch.onnx.load(graph(nodes, {"x": [1]}, ["y"], domains=[helper.make_opsetid("far", 1)]))
    model = torch.onnx.load(graph([helper.make_node("Add", ["x", "z"], ["y"], name="sum")], {"x": [2], "z": [3]}, ["y"]))
    with pytest.raises(TypeError, match="'z' is missing"):
        model(torch.ones(2))
    with pytest.raises(TypeError, match="takes x, z"):
        model(torch.ones(2), q=1)
    with pytest.raises(RuntimeError) as raised:
        model(torch.ones(2), torch.ones(3))
    assert "'sum', Add of opset 21" in " ".join(raised.value.__notes__)


def test_names_that_python_does_not_have(tmp_path: Path) -> None:
    weights = {
        "layer.0/weight": np.ones((2, 2), np.float32),
        "layer.0.weight": np.full((2, 2), 2, np.float32),
        "forward": np.zeros(2, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "layer.0/weight"], ["a"]),
        helper.make_node("MatMul", ["a", "layer.0.weight"], ["b"]),
        helper.make_node("Add", ["b", "forward"], ["y"]),
    ]
    model = torch.onnx.load(graph(nodes, {"x": [1, 2]}, ["y"], constants=weights))
    assert sorted(model.state_dict()) == ["forward_", "layer_0_weight", "layer_0_weight_"]
    assert model(torch.ones(1, 2)).tolist() == [[8.0, 8.0]]
    assert isinstance(held(np.arange(3)), np.ndarray)


def main() -> None:
    wrong: dict[str, list[str]] = collections.defaultdict(list)
    for case in cases():
        try:
            check(case)
        except Exception as error:
            wrong[f"{type(error).__name__}: {str(error).strip()[:100]!r}"].append(case.name)
    count = sum(map(len, wrong.values()))
    for message, names in sorted(wrong.items(), key=lambda item: -len(item[1])):
        print(len(names), message, *names[:3])
    print(
        f"{len(cases()) - count} of {len(cases())} cases pass; {sum(left_out(n) is not None for names in wrong.values() for n in names)} of the others are left out"
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
