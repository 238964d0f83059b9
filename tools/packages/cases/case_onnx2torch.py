# needs: onnx2torch onnx torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx2torch import convert

rng = np.random.default_rng(0)
weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in (("w", (4, 3, 3, 3)), ("b", (4,)), ("v", (2, 4 * 16)), ("c", (2,)))]
nodes = [helper.make_node("Conv", ["x", "w", "b"], ["h"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["h"], ["r"]),
         helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]), helper.make_node("Flatten", ["p"], ["f"]), helper.make_node("Gemm", ["f", "v", "c"], ["y"], transB=1), helper.make_node("Softmax", ["y"], ["z"], axis=1)]
graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])], [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 2])], weights)
model = convert(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))
torch.manual_seed(0)
R("output", model(torch.randn(3, 3, 8, 8)).flatten()[:4].tolist(), type(model).__name__)
R("parameters", sum(p.numel() for p in model.parameters()))
