# needs: torchdata deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from torchdata.nodes import Batcher, IterableWrapper, Loader, Mapper
from torchdata.stateful_dataloader import StatefulDataLoader

torch.manual_seed(0)
node = Batcher(Mapper(IterableWrapper(range(10)), lambda i: i * i), 4, drop_last=False)
R("nodes", list(Loader(node)))
loader = StatefulDataLoader(torch.arange(12), batch_size=4, shuffle=True)
it = iter(loader)
first = next(it)
state = loader.state_dict()
rest = [b.tolist() for b in it]
again = StatefulDataLoader(torch.arange(12), batch_size=4, shuffle=True)
again.load_state_dict(state)
R("stateful", first.tolist(), rest, [b.tolist() for b in again] == rest)
