import flambeau as torch

x = torch.linspace(-1, 1, 12).reshape(3, 4)
values, indices = x.max(dim=1)
top = torch.topk(x, k=2, dim=-1, largest=True)
print(values.tolist(), indices.dtype == torch.int64, top.values.shape, torch.max(x).item())
mean, std = x.mean(0, keepdim=True), x.std(dim=0, unbiased=False)
normal = (x - mean) / (std + 1e-5)
print(normal.abs().sum().item() > 0, torch.argmax(x), x.sort(descending=True).indices[0, 0])
u, s, v = torch.linalg.svd(x, full_matrices=False)
print(torch.linalg.norm(x - u @ torch.diag(s) @ v).item() < 1e-4, torch.einsum("ij,kj->ik", x, x).shape)
