import flambeau as torch

x = torch.zeros(4, 5)
x[0] = 1.0
x[:, 1:3] += 2
x[x > 1] = 0
rows = torch.tensor([0, 2])
picked = x[rows, None].squeeze(1).gather(1, torch.zeros(2, 1, dtype=torch.long))
y = x.index_select(0, rows).scatter_(1, torch.tensor([[0], [1]]), 5.0)
z = torch.where(y > 1, y, torch.zeros_like(y))
first, *rest = torch.split(z, [2, 3], dim=1)
print(picked.shape, z.nonzero().size(0), first.shape, len(rest), torch.cat([first, first], dim=1).T.shape)
print(torch.stack([x[0], x[1]]).unsqueeze(0).expand(2, -1, -1).contiguous().view(-1).shape[0])
