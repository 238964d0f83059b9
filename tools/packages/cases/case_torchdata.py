# needs: torchdata deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from torchdata.nodes import Batcher, IterableWrapper, Loader, Mapper, MapStyleWrapper, Prefetcher

torch.manual_seed(0)
node = Batcher(Mapper(IterableWrapper(range(10)), lambda i: i * i), 4, drop_last=False)
R("nodes", list(Loader(node)))
loader = Loader(Prefetcher(Batcher(MapStyleWrapper({i: torch.full((2,), i) for i in range(6)}, sampler=[5, 3, 1, 0, 2]), 2, drop_last=False), 2))
batches = iter(loader)
first = next(batches)
state = loader.state_dict()
rest = [[t.tolist() for t in b] for b in batches]
loader.load_state_dict(state)
R("resumed", [t.tolist() for t in first], rest, [[t.tolist() for t in b] for b in loader] == rest)
