# needs: torchview graphviz torchvision deps
from torch import nn
from torchview import draw_graph

m = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
g = draw_graph(m, input_size=(3, 4), expand_nested=True)
s = g.visual_graph.source
print("RESULT edges", s.count("->"), len(g.edge_list), len(s))
