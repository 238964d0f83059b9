import flambeau as torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
x = torch.ones(2, 3, dtype=torch.float64, device=device).to(torch.float32)
print(x.device.type, x.dtype, x.is_cuda, x.size(), x.dim(), x.numel(), x.element_size(), x.stride())
y = x.to("cpu", non_blocking=True).half().float().long().double()
print(y.dtype is torch.float64, torch.get_default_dtype(), torch.finfo(torch.float32).eps < 1e-6, torch.is_tensor(y))
generator = torch.Generator().manual_seed(1)
print(torch.rand(2, generator=generator).shape, torch.bernoulli(torch.full((3,), 0.5), generator=generator).shape)
