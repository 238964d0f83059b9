# needs: tensorly deps
import tensorly as tl
import torch

tl.set_backend("pytorch")
from tensorly.decomposition import non_negative_parafac, parafac, robust_pca, tensor_train, tucker

rng = tl.check_random_state(0)
t = tl.tensor(rng.random_sample((6, 7, 8)))
f = parafac(t, rank=3, init="svd", n_iter_max=20)
print("RESULT cp", float(tl.norm(tl.cp_to_tensor(f) - t)))
core, fac = tucker(t, rank=[3, 3, 3])
print("RESULT tucker", float(tl.norm(core)), [tuple(x.shape) for x in fac])
print("RESULT nn", float(tl.norm(tl.cp_to_tensor(non_negative_parafac(t, rank=3, init="svd", n_iter_max=10)) - t)))
tt = tensor_train(t, rank=[1, 3, 3, 1])
print("RESULT tt", float(tl.norm(tl.tt_to_tensor(tt) - t)))
print(
    "RESULT unfold",
    float(tl.unfold(t, 1)[0].sum()),
    float(tl.tenalg.mode_dot(t, tl.ones((4, 7), dtype=torch.float64), 1).sum()),
    float(tl.tenalg.khatri_rao([f.factors[0], f.factors[1]]).sum().abs() > 0),
)
from tensorly.regression import CPRegressor

X = tl.tensor(rng.random_sample((50, 5, 5)))
y = tl.tensor(rng.random_sample(50))
r = CPRegressor(weight_rank=2, tol=1e-7, n_iter_max=20, verbose=0, random_state=0)
r.fit(X, y)
print("RESULT reg", float(tl.norm(r.predict(X) - y)))
D, E = robust_pca(t, n_iter_max=10)
print("RESULT rpca", float(tl.norm(D)), float(tl.norm(E)))
g = torch.tensor(rng.random_sample((4, 4)), requires_grad=True)
tl.tenalg.svd_interface(g, n_eigenvecs=2)[1].sum().backward()
print("RESULT grad", float(g.grad.norm()))
