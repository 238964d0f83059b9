# needs: roma deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import roma
import torch

torch.manual_seed(0)
q = roma.random_unitquat(4)
r = roma.unitquat_to_rotmat(q)
R("rotations", r.sum().item(), roma.rotmat_to_rotvec(r).sum().item(), roma.rotmat_geodesic_distance(r[0], r[1]).item())
R("euler", *roma.rotmat_to_euler("xyz", r[0], degrees=True).tolist())
R("procrustes", roma.special_procrustes(torch.randn(3, 3)).det().item(), roma.unitquat_slerp(q[0], q[1], torch.tensor([0.3])).sum().item())
x, y = torch.randn(10, 3), torch.randn(10, 3)
rotation, t = roma.rigid_points_registration(x, y)
R("registration", rotation.sum().item(), t.sum().item())
m = torch.randn(2, 3, 3, requires_grad=True)
roma.special_gramschmidt(m).sum().backward()
R("gradient", m.grad.norm().item())
