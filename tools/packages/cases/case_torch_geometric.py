# needs: torch-geometric deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv, global_mean_pool

torch.manual_seed(0)
edges = torch.randint(0, 30, (2, 120))
data = Data(x=torch.randn(30, 8), edge_index=edges, y=torch.randint(0, 3, (30,)))


class GCN(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = GCNConv(8, 16), GCNConv(16, 3)

    def forward(self, data):
        x = F.dropout(F.relu(self.a(data.x, data.edge_index)), 0.5, self.training)
        return F.log_softmax(self.b(x, data.edge_index), 1)


model = GCN()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
for step in range(6):
    optimizer.zero_grad()
    loss = F.nll_loss(model(data), data.y)
    loss.backward()
    optimizer.step()
    R(f"loss{step}", loss.item())
for layer in (GATConv(8, 4, heads=2), SAGEConv(8, 4), GINConv(torch.nn.Linear(8, 4))):
    out = layer(data.x, data.edge_index)
    out.sum().backward()
    R(type(layer).__name__, out.sum().item(), sum(p.grad.abs().sum().item() for p in layer.parameters() if p.grad is not None))
graphs = [Data(x=torch.randn(n, 8), edge_index=torch.randint(0, n, (2, 3 * n)), y=torch.tensor([n % 2])) for n in range(4, 12)]
for batch in DataLoader(graphs, batch_size=4, shuffle=True):
    R("batch", batch.num_graphs, batch.batch.tolist()[-1], global_mean_pool(batch.x, batch.batch).sum().item(), batch.y.tolist())
from torch_geometric.utils import add_self_loops, degree, softmax, to_dense_adj, to_undirected

R("utils", degree(edges[0], 30).tolist()[:5], tuple(to_undirected(edges).shape), to_dense_adj(edges).sum().item(), tuple(add_self_loops(edges)[0].shape), softmax(torch.arange(4.0), torch.tensor([0, 0, 1, 1])).tolist())
R("data", str(data), data.is_undirected(), data.has_isolated_nodes())
