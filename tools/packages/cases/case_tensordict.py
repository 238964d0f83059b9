# needs: tensordict pyvers deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import tempfile

import torch
from tensordict import TensorDict, tensorclass
from tensordict.nn import TensorDictModule, TensorDictSequential

torch.manual_seed(0)
td = TensorDict({"a": torch.randn(4, 3), "nested": {"b": torch.arange(4)}}, batch_size=[4])
R("shape", td.shape, td[1:3]["nested", "b"].tolist(), sorted(td.keys(True), key=str))
td["c"] = td["a"] * 2
R("reshape", td.view(2, 2)["c"].sum().item(), torch.stack([td, td], 1).shape, torch.cat([td, td])["a"].shape)
net = TensorDictSequential(TensorDictModule(torch.nn.Linear(3, 5), in_keys=["a"], out_keys=["hidden"]), TensorDictModule(torch.nn.Linear(5, 1), in_keys=["hidden"], out_keys=["out"]))
out = net(td)
out["out"].sum().backward()
R("module", out["out"].sum().item(), sum(p.grad.norm().item() for p in net.parameters()))
parameters = TensorDict.from_module(net)
with (parameters * 0).to_module(net):
    R("functional", net(td.clone())["out"].abs().sum().item())
R("apply", td.apply(lambda x: x + 1)["nested", "b"].tolist(), td.select("a").to(torch.float64)["a"].dtype)


@tensorclass
class Point:
    x: torch.Tensor
    y: torch.Tensor


points = Point(torch.zeros(3), torch.ones(3), batch_size=[3])
R("tensorclass", points[1].y.item(), points.reshape(3, 1).shape)
with tempfile.TemporaryDirectory() as folder:
    td.memmap(folder)
    R("memmap", TensorDict.load_memmap(folder)["nested", "b"].tolist())
