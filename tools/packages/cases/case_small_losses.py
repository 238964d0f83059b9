# needs: pytorch-msssim torch-ema geoopt efficientnet-pytorch julius pytorch-optimizer deps
# about: pytorch-msssim torch-ema geoopt efficientnet-pytorch julius pytorch-optimizer
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import torch


def attempt(call):
    try:
        call()
    except Exception as error:
        R(call.__name__, type(error).__name__, str(error)[:200])


def msssim():
    from pytorch_msssim import ms_ssim, ssim
    torch.manual_seed(0)
    a = torch.rand(1, 3, 200, 200, requires_grad=True)
    b = torch.rand(1, 3, 200, 200)
    v = ms_ssim(a, b, data_range=1.0)
    v.backward()
    R("msssim", v.item(), ssim(a, b, data_range=1.0).item(), a.grad.norm().item())


def ema():
    from torch_ema import ExponentialMovingAverage
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 2)
    average = ExponentialMovingAverage(net.parameters(), decay=0.9)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.ones(4, 3)).pow(2).mean().backward()
        optimizer.step()
        average.update()
    with average.average_parameters():
        R("ema", net.weight.sum().item())
    R("raw", net.weight.sum().item())


def geo():
    import geoopt
    torch.manual_seed(0)
    ball = geoopt.PoincareBall()
    p = geoopt.ManifoldParameter(torch.randn(4, 2) * 0.1, manifold=ball)
    optimizer = geoopt.optim.RiemannianAdam([p], lr=0.05)
    for i in range(4):
        optimizer.zero_grad()
        loss = ball.dist(p, torch.full((4, 2), 0.3)).sum()
        loss.backward()
        optimizer.step()
        R(f"geoopt{i}", loss.item())


def efficient():
    from efficientnet_pytorch import EfficientNet
    torch.manual_seed(0)
    net = EfficientNet.from_name("efficientnet-b0", num_classes=4).eval()
    with torch.no_grad():
        R("efficientnet", net(torch.randn(1, 3, 64, 64)).std().item())


def audio():
    import julius
    torch.manual_seed(0)
    x = torch.randn(1, 4000)
    R("julius", julius.resample_frac(x, 4, 3).std().item(), julius.lowpass_filter(x, 0.1).std().item(), julius.fft_conv1d(x[None], torch.randn(1, 1, 64)).std().item(), julius.split_bands(x, 16000, 4).std().item())


def optimizers():
    import pytorch_optimizer as po
    for name in ("AdamP", "Lion", "Ranger", "AdaBelief", "LAMB", "SophiaH", "Adan", "Prodigy", "ScheduleFreeAdamW", "Muon", "Shampoo", "Lookahead"):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        x = torch.randn(16, 4)
        try:
            if name == "Lookahead":
                optimizer = po.Lookahead(po.AdamP(net.parameters(), lr=1e-2))
            elif name == "Muon":
                optimizer = po.Muon([{"params": [p for p in net.parameters() if p.ndim == 2], "use_muon": True}, {"params": [p for p in net.parameters() if p.ndim < 2], "use_muon": False}])
            else:
                optimizer = getattr(po, name)(net.parameters(), lr=1e-2)
            if hasattr(optimizer, "train"):
                optimizer.train()
            for _ in range(4):
                optimizer.zero_grad()
                loss = net(x).pow(2).mean()
                loss.backward(create_graph=name == "SophiaH")
                optimizer.step()
            R(name, loss.item())
        except Exception as error:
            R(name, type(error).__name__, str(error)[:150])


for call in (msssim, ema, geo, efficient, audio, optimizers):
    attempt(call)
