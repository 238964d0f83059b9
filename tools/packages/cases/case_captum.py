# needs: captum deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from captum.attr import (
    DeepLift,
    FeatureAblation,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
)

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(4 * 16, 3)).eval()
x = torch.randn(2, 1, 8, 8)
for method in (IntegratedGradients, Saliency, DeepLift, InputXGradient, GuidedBackprop):
    R(method.__name__, method(net).attribute(x.clone().requires_grad_(), target=1).abs().sum().item())
R("Occlusion", Occlusion(net).attribute(x, target=0, sliding_window_shapes=(1, 4, 4), strides=(1, 2, 2)).sum().item())
R("GradCam", LayerGradCam(net, net[0]).attribute(x, target=2).sum().item())
R("Conductance", LayerConductance(net, net[0]).attribute(x, target=2, n_steps=5).sum().item())
torch.manual_seed(1)
R("NoiseTunnel", NoiseTunnel(Saliency(net)).attribute(x, target=1, nt_samples=3, stdevs=0.1).sum().item())
linear = torch.nn.Linear(5, 2)
R("Ablation", FeatureAblation(linear).attribute(torch.ones(2, 5), target=0).sum().item())
R("Shapley", ShapleyValueSampling(linear).attribute(torch.ones(1, 5), target=1, n_samples=3).sum().item())
