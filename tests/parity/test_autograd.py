"""The tape does what PyTorch's does; programs are separated by lines of ``---``."""

from __future__ import annotations

import pytest

PROGRAMS = r"""
x = torch.tensor([1.,2.], requires_grad=True); (x*2).backward()
---
x = torch.tensor([1.,2.], requires_grad=True); (x*2).backward(torch.tensor([1.,3.])); x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); (x*2).backward(torch.tensor([1.,3.,4.]))
---
torch.zeros(2).sum().backward()
---
x = torch.tensor([1.,2.], requires_grad=True); y = (x*x).sum(); y.backward(); y.backward()
---
x = torch.tensor([1.,2.], requires_grad=True); y = (x*x).sum(); y.backward(retain_graph=True); y.backward(); x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); y = (x+1).sum(); y.backward(); y.backward(); x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); w = torch.tensor([3.,4.], requires_grad=True); (x*w).sum().backward(inputs=[x]); x.grad, w.grad
---
x = torch.tensor([1.,2.], requires_grad=True); w = x*2; (x*w).sum().backward(inputs=[w]); x.grad, w.grad
---
x = torch.tensor([1.,2.], requires_grad=True); (x*2).sum().backward(inputs=[])
---
x = torch.tensor([1.,2.], requires_grad=True); torch.autograd.grad((x*2).sum(), torch.zeros(2))
---
x = torch.tensor([1.,2.], requires_grad=True); w = torch.ones(2, requires_grad=True); torch.autograd.grad((x*2).sum(), w)
---
x = torch.tensor([1.,2.], requires_grad=True); w = torch.ones(2, requires_grad=True); torch.autograd.grad((x*2).sum(), [x, w], allow_unused=True)
---
x = torch.tensor([1.,2.], requires_grad=True); w = torch.ones(2, requires_grad=True); torch.autograd.grad((x*2).sum(), [x, w], materialize_grads=True)
---
x = torch.tensor([1.,2.], requires_grad=True); w = torch.ones(2, requires_grad=True); torch.autograd.grad((x*2).sum(), [x, w], materialize_grads=True, allow_unused=False)
---
x = torch.tensor([1.,2.], requires_grad=True); torch.autograd.grad([x.sum(), (x*x).sum()], x)
---
x = torch.tensor([1.,2.], requires_grad=True); torch.autograd.grad([x*2, x*x], x, [torch.ones(2), torch.ones(2)])
---
x = torch.tensor([1.,2.], requires_grad=True); torch.autograd.grad([x*2, x*x], x, [torch.ones(2)])
---
x = torch.tensor([1.,2.], requires_grad=True); torch.autograd.grad(x*2, x)
---
x = torch.tensor([1.,2.], requires_grad=True); torch.autograd.grad(x*x, x, torch.eye(2), is_grads_batched=True)
---
x = torch.tensor([1.,2.], requires_grad=True); torch.autograd.grad(x.sum(), x, create_graph=True)
---
x = torch.tensor([1.,2.], requires_grad=True); g, = torch.autograd.grad((x**3).sum(), x, create_graph=True); torch.autograd.grad(g.sum(), x)
---
x = torch.tensor([1.,2.], requires_grad=True); torch.autograd.grad((x**3).sum(), [x, x])
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; torch.autograd.grad((y*y).sum(), [y, x])
---
x = torch.tensor([1.,2.], requires_grad=True); torch.autograd.grad(x, x, torch.ones(2))
---
x = torch.tensor([1.,2.], requires_grad=True); x.sum().backward(); g = x.grad; x.sum().backward(); g is x.grad, g
---
x = torch.tensor([1.,2.], requires_grad=True); x.grad = torch.zeros(3)
---
x = torch.tensor([1.,2.], requires_grad=True); x.grad = torch.zeros(2).double()
---
x = torch.tensor([1.,2.], requires_grad=True); x.grad = 3
---
x = torch.tensor([1.,2.], requires_grad=True); x.grad = x
---
x = torch.tensor([1.,2.], requires_grad=True); x.sum().backward(); x.grad.zero_(); x.grad = None; x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y.grad
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y.retain_grad(); y.sum().backward(); y.grad, y.retains_grad
---
torch.zeros(2).retain_grad()
---
x = torch.tensor([1.,2.], requires_grad=True); x.retain_grad(); x.retains_grad
---
x = torch.tensor([1.,2.], requires_grad=True); h = x.register_hook(lambda g: g*3); x.sum().backward(); h.remove(); x.sum().backward(); x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; seen = []; y.register_hook(lambda g: seen.append(g)); y.register_hook(lambda g: g*2); y.sum().backward(); x.grad, seen
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y.register_hook(lambda g: torch.zeros(3)); y.sum().backward()
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y.register_hook(lambda g: 3); y.sum().backward()
---
torch.zeros(2).register_hook(lambda g: g)
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y.retain_grad(); y.register_hook(lambda g: g*2); y.sum().backward(); y.grad, x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); seen=[]; h = x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone())); x.sum().backward(); x.sum().backward(); h.remove(); x.sum().backward(); seen
---
x = torch.tensor([1.,2.], requires_grad=True); (x*2).register_post_accumulate_grad_hook(lambda p: None)
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; seen=[]; y.grad_fn.register_hook(lambda gi, go: seen.append((gi, go))); y.sum().backward(); seen
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y.grad_fn.register_prehook(lambda go: (go[0]*5,)); y.sum().backward(); x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y.grad_fn.register_hook(lambda gi, go: (gi[0]*5, None)); y.sum().backward(); x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*x; y.grad_fn.metadata["a"] = 1; y.grad_fn.metadata, y.grad_fn.name()
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*x; y.grad_fn.next_functions
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y.grad_fn.next_functions, y.sum().grad_fn.next_functions[0][0] is y.grad_fn
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y.grad_fn.next_functions[0][0].variable is x
---
x = torch.tensor([1.,2.], requires_grad=True); y = x.exp(); y.grad_fn._saved_result, (x*x).grad_fn._saved_self, (x*x).grad_fn._saved_other
---
x = torch.tensor([1.,2.], requires_grad=True); y = x.pow(3); y.grad_fn._saved_exponent, y.grad_fn._saved_self
---
x = torch.tensor([1.,2.], requires_grad=True); y = x.exp(); y.sum().backward(); y.grad_fn._saved_result
---
x = torch.tensor([1.,2.], requires_grad=True); y = x.exp(); y.grad_fn._saved_foo
---
x = torch.tensor([1.,2.], requires_grad=True); x += 1
---
x = torch.tensor([1.,2.], requires_grad=True); x[0] = 1
---
x = torch.tensor([1.,2.], requires_grad=True); x[:1].add_(1)
---
x = torch.tensor([1.,2.], requires_grad=True); x.data += 1; x
---
x = torch.tensor([1.,2.], requires_grad=True); x.zero_()
---
x = torch.tensor([1.,2.], requires_grad=True)
with torch.no_grad(): x += 1; x[0] = 9
x
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y += 1; y.grad_fn, y.grad_fn.next_functions
---
x = torch.tensor([1.,2.], requires_grad=True); y = x.clone(); y[0] = 5; y.grad_fn, y.sum().backward(), x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); y = x.clone(); z = y[:1]; z.mul_(3); y.grad_fn, z.grad_fn, (y*y).sum().backward(), x.grad
---
x = torch.tensor([1.,2.,3.,4.], requires_grad=True); y = x.clone().view(2,2); z = y[0]; w = z[1:]; w.mul_(3); z.add_(1); (y*y).sum().backward(); y, z, w, x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); y = torch.zeros(2); y[0] = x[1]*2; y.requires_grad, y.grad_fn, y.sum().backward(), x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); y = torch.zeros(2,2); v = y[0]; v.copy_(x); y.requires_grad, v.grad_fn, (y*3).sum().backward(), x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*1; v = y.view(1,2); y.mul_(2); v.grad_fn, v.requires_grad, v.sum().backward(), x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y.detach_(); y.requires_grad, y.grad_fn
---
x = torch.tensor([1.,2.], requires_grad=True); y = (x*2)[0]; y.detach_()
---
x = torch.tensor([1.,2.], requires_grad=True); y = x.detach(); y.requires_grad, y.is_leaf, y.data_ptr() == x.data_ptr()
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y.requires_grad = False
---
x = torch.tensor([1,2]); x.requires_grad_()
---
x = torch.tensor([1,2]); x.requires_grad = True
---
x = torch.tensor([1.,2.]); x.requires_grad_().requires_grad, x.requires_grad_(False).requires_grad
---
x = torch.tensor([1.,2.], requires_grad=True); y = x*2; y.is_leaf, x.is_leaf, torch.zeros(2).is_leaf, y.requires_grad_().requires_grad
---
with torch.no_grad():
    x = torch.ones(2, requires_grad=True); y = x*2
x.requires_grad, y.requires_grad
---
@torch.no_grad()
def f(x): return x*2
f(torch.ones(2, requires_grad=True)).requires_grad
---
@torch.no_grad
def f(x): return x*2
f(torch.ones(2, requires_grad=True)).requires_grad, f.__name__
---
x = torch.ones(2, requires_grad=True)
with torch.no_grad():
    with torch.enable_grad(): y = x*2
    z = x*2
y.requires_grad, z.requires_grad, torch.is_grad_enabled()
---
@torch.no_grad()
def g():
    r = yield torch.is_grad_enabled()
    yield (torch.is_grad_enabled(), r)
it = g(); [next(it), torch.is_grad_enabled(), it.send(5), torch.is_grad_enabled()]
---
torch.set_grad_enabled(False); a = torch.is_grad_enabled(); torch.set_grad_enabled(True); a, torch.is_grad_enabled()
---
with torch.set_grad_enabled(False): a = torch.is_grad_enabled()
a, torch.is_grad_enabled()
---
@torch.set_grad_enabled(False)
def f(): return torch.is_grad_enabled()
f(), torch.is_grad_enabled()
---
with torch.inference_mode(False): a = torch.is_grad_enabled()
a
---
@torch.inference_mode()
def f(): return torch.is_inference_mode_enabled()
f()
---
x = torch.ones(2, requires_grad=True)
try:
    with torch.no_grad(): raise ValueError
except ValueError: pass
torch.is_grad_enabled()
---
Variable = torch.autograd.Variable
v = Variable(torch.ones(2), requires_grad=True); v.sum().backward(); v.grad.data.zero_(); v.grad, isinstance(torch.ones(1), Variable), type(v)
---
v = torch.autograd.Variable(torch.ones(2), volatile=True); v.requires_grad
---
torch.ones(1).volatile
---
loss = torch.tensor(3.); loss.data[0]
---
x = torch.tensor([1.,2.], requires_grad=True); (x*float('nan')).sum().backward(); x.grad
---
with torch.autograd.detect_anomaly():
    x = torch.tensor([-1.], requires_grad=True); y = x.sqrt(); y.sum().backward()
---
torch.autograd.set_detect_anomaly(True); a = torch.is_anomaly_enabled(); torch.autograd.set_detect_anomaly(False); a, torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
---
with torch.autograd.set_detect_anomaly(True): a = torch.is_anomaly_enabled()
a, torch.is_anomaly_enabled()
---
x = torch.tensor([1.,2.], requires_grad=True)
packed = []
with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t.clone()) or t*10, lambda t: t): y = x*x
y.sum().backward(); packed, x.grad
---
x = torch.tensor([1.,2.], requires_grad=True)
with torch.autograd.graph.save_on_cpu(): y = x*x
y.sum().backward(); x.grad
---
with torch.autograd.graph.disable_saved_tensors_hooks("no"):
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t): pass
---
a = torch.rand(2, requires_grad=True); b = torch.rand(2, requires_grad=True); c = a*b; d = c.sum(); seen = []
h = torch.autograd.graph.register_multi_grad_hook((a, b, c), lambda g: seen.append(len(g))); d.backward(); seen
---
x = torch.ones(2, requires_grad=True); torch.autograd.graph.get_gradient_edge(x*2).node, torch.autograd.graph.get_gradient_edge(x*2).output_nr
---
x = torch.ones(2, dtype=torch.complex64, requires_grad=True); (x*x).sum().backward()
---
x = torch.ones(2, dtype=torch.complex64, requires_grad=True); (x*x).abs().sum().backward(); x.grad
---
x = torch.ones(2, requires_grad=True); y = x.double().sum(); y.backward(); x.grad
---
x = torch.ones(2, requires_grad=True); y = (x > 0); y.requires_grad, x.argmax().requires_grad, x.long().requires_grad, x.int().grad_fn
---
x = torch.ones(2, requires_grad=True); x.max(0), x.sort()
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, n, s=None):
        ctx.save_for_backward(x, w); ctx.n = n
        return x*w, (x*n)
    @staticmethod
    def backward(ctx, g, h):
        x, w = ctx.saved_tensors
        return g*w + h*ctx.n, g*x, None, None
x = torch.tensor([1.,2.], requires_grad=True); w = torch.tensor([3.,4.]); a, b = F.apply(x, w, 5)
(a.sum()+b.sum()).backward(); a, b, x.grad, a.grad_fn, a.grad_fn.needs_input_grad, b.output_nr, a.grad_fn.name()
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(x, n): return x.exp()*n
    @staticmethod
    def setup_context(ctx, inputs, output): ctx.save_for_backward(output); ctx.n = inputs[1]
    @staticmethod
    def backward(ctx, g): return g*ctx.saved_tensors[0], None
x = torch.tensor([1.,2.], requires_grad=True); y = F.apply(x, 2); y.sum().backward(); x.grad, y.grad_fn.saved_tensors
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(x, n): return x.exp()*n
    @staticmethod
    def setup_context(ctx, inputs, output): ctx.save_for_backward(output); ctx.n = inputs[1]
    @staticmethod
    def backward(ctx, g): return g*ctx.saved_tensors[0], None
x = torch.tensor([1.,2.], requires_grad=True); y = F.apply(x, 2); g, = torch.autograd.grad(y.sum(), x, create_graph=True); torch.autograd.grad(g.sum(), x)
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x*2
    @staticmethod
    def backward(ctx, g): return g*2, g
x = torch.tensor([1.,2.], requires_grad=True); F.apply(x).sum().backward()
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, n): return x*2
    @staticmethod
    def backward(ctx, g): return g*2
x = torch.tensor([1.,2.], requires_grad=True); F.apply(x, 3).sum().backward()
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, n): return x*2
    @staticmethod
    def backward(ctx, g): return g*2, g
x = torch.tensor([1.,2.], requires_grad=True); F.apply(x, 3).sum().backward()
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, n): return x*2
    @staticmethod
    def backward(ctx, g): return g*2, None, None, None
x = torch.tensor([1.,2.], requires_grad=True); F.apply(x, 3).sum().backward(); x.grad
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x*2
    @staticmethod
    def backward(ctx, g): return 3
x = torch.tensor([1.,2.], requires_grad=True); F.apply(x).sum().backward()
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x*2
    @staticmethod
    def backward(ctx, g): return torch.ones(3)
x = torch.tensor([1.,2.], requires_grad=True); F.apply(x).sum().backward()
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x*2
    @staticmethod
    def backward(ctx, g): return torch.ones(1)
x = torch.tensor([1.,2.], requires_grad=True); F.apply(x).sum().backward(); x.grad
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x*2
    @staticmethod
    def backward(ctx, g): return None
x = torch.tensor([1.,2.], requires_grad=True); F.apply(x).sum().backward(); x.grad
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x*2
x = torch.tensor([1.,2.], requires_grad=True); F.apply(x).sum().backward()
---
class F(torch.autograd.Function): pass
F.apply(torch.ones(1))
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): x.mul_(2); ctx.mark_dirty(x); return x
    @staticmethod
    def backward(ctx, g): return g*2
x = torch.tensor([1.,2.], requires_grad=True); y = x*1; z = F.apply(y); z is y, z.grad_fn, z.sum().backward(), x.grad
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): x.mul_(2); ctx.mark_dirty(x); return x
    @staticmethod
    def backward(ctx, g): return g*2
x = torch.tensor([1.,2.], requires_grad=True); F.apply(x)
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x
    @staticmethod
    def backward(ctx, g): return g*3
x = torch.tensor([1.,2.], requires_grad=True); y = F.apply(x); y is x, y.grad_fn, y.sum().backward(), x.grad
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x.view(1,2)
    @staticmethod
    def backward(ctx, g): return g.view(2)*3
x = torch.tensor([1.,2.], requires_grad=True); y = F.apply(x); y.grad_fn, y.sum().backward(), x.grad, y.data_ptr() == x.data_ptr()
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        v, i = x.sort(); ctx.mark_non_differentiable(i); ctx.save_for_backward(i); return v, i
    @staticmethod
    def backward(ctx, g, gi):
        i, = ctx.saved_tensors; r = torch.zeros_like(g); r.scatter_(0, i, g); return r
x = torch.tensor([3.,1.], requires_grad=True); v, i = F.apply(x); v.requires_grad, i.requires_grad, (v*torch.tensor([1.,5.])).sum().backward(), x.grad
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x*2, x*3
    @staticmethod
    def backward(ctx, a, b):
        out.append((a, b)); return a
out = []; x = torch.tensor([1.,2.], requires_grad=True); F.apply(x)[0].sum().backward(); out
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.set_materialize_grads(False); return x*2, x*3
    @staticmethod
    def backward(ctx, a, b):
        out.append((a, b)); return a
out = []; x = torch.tensor([1.,2.], requires_grad=True); F.apply(x)[0].sum().backward(); out
---
from torch.autograd.function import once_differentiable
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(x); return x**2
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g): x, = ctx.saved_tensors; return g*2*x
x = torch.tensor([1.,2.], requires_grad=True); g, = torch.autograd.grad(F.apply(x).sum(), x, create_graph=True); g.requires_grad, torch.autograd.grad(g.sum(), x)
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(x); return x**2
    @staticmethod
    def backward(ctx, g): x, = ctx.saved_tensors; return g*2*x
x = torch.tensor([1.,2.], requires_grad=True); y = F.apply(x).sum(); y.backward(); y.backward()
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): t = x*3; ctx.save_for_backward(t, None); return t**2
    @staticmethod
    def backward(ctx, g): t, n = ctx.saved_tensors; return g*2*t*3
x = torch.tensor([1.,2.], requires_grad=True); F.apply(x).sum().backward(); x.grad
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(3); return x**2
    @staticmethod
    def backward(ctx, g): return g
x = torch.tensor([1.,2.], requires_grad=True); F.apply(x)
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x*2
    @staticmethod
    def backward(ctx, g): return g
F.apply(torch.ones(2)).requires_grad, F.apply(torch.ones(2, requires_grad=True).detach()).grad_fn
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return 5
    @staticmethod
    def backward(ctx, g): return g
F.apply(torch.ones(2, requires_grad=True))
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, xs, d): return xs[0]*d["a"]
    @staticmethod
    def backward(ctx, g): return None, None
F.apply([torch.ones(2, requires_grad=True)], {"a": 2}).requires_grad
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y): ctx.save_for_backward(x, y); return x*y
    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors; out.append(ctx.needs_input_grad)
        return g*y if ctx.needs_input_grad[0] else None, g*x if ctx.needs_input_grad[1] else None
out = []; x = torch.ones(2, requires_grad=True); F.apply(x, torch.ones(2)).sum().backward(); F.apply(torch.ones(2), x).sum().backward(); out, x.grad
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(x); return x.clone()
    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors; return g*x
x = torch.tensor([1.,2.], dtype=torch.float64, requires_grad=True); torch.autograd.gradcheck(F.apply, x, raise_exception=False), torch.autograd.gradcheck(lambda x: x**2, x), torch.autograd.gradgradcheck(lambda x: x**3, x)
---
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x.clone()
    @staticmethod
    def backward(ctx, g): return g*2
x = torch.tensor([1.,2.], dtype=torch.float64, requires_grad=True); torch.autograd.gradcheck(F.apply, x)
---
torch.autograd.gradcheck(lambda x: x, torch.ones(2, dtype=torch.float64))
---
f = torch.autograd.functional; x = torch.tensor([1.,2.]); y = torch.tensor([3.,4.]); f.jacobian(lambda a, b: (a*b, a.sum()), (x, y))
---
f = torch.autograd.functional; x = torch.tensor([1.,2.]); y = torch.tensor([3.,4.]); f.hessian(lambda a, b: (a**2*b).sum(), (x, y))
---
f = torch.autograd.functional; x = torch.tensor([1.,2.]); f.vjp(lambda a: a**2, x, torch.ones(2)), f.jvp(lambda a: a**2, x, torch.ones(2)), f.hvp(lambda a: (a**3).sum(), x, torch.ones(2)), f.vhp(lambda a: (a**3).sum(), x, torch.ones(2))
---
f = torch.autograd.functional; x = torch.tensor([1.,2.]); y = torch.tensor([3.,4.]); f.vjp(lambda a, b: (a*b, a+b), (x, y), (x, y)), f.jvp(lambda a, b: (a*b, a+b), (x, y), (x, y)), f.hvp(lambda a, b: (a**2*b).sum(), (x, y), (x, y)), f.vhp(lambda a, b: (a**2*b).sum(), (x, y), (x, y))
---
f = torch.autograd.functional; x = torch.tensor([1.,2.]); f.vjp(lambda a: a**2, x)
---
f = torch.autograd.functional; x = torch.tensor([1.,2.]); f.vjp(lambda a: a**2, x, torch.ones(3))
---
f = torch.autograd.functional; x = torch.tensor([1.,2.]); f.hessian(lambda a: a, x)
---
f = torch.autograd.functional; x = torch.tensor([1.,2.]); f.jacobian(lambda a: torch.ones(2), x), f.jacobian(lambda a: torch.ones(2), x, strict=False)
---
f = torch.autograd.functional; x = torch.tensor([1.,2.], requires_grad=True); f.jacobian(lambda a: a**2, x, create_graph=True).requires_grad, f.jacobian(lambda a: a**2, x).requires_grad
---
f = torch.autograd.functional; f.jacobian(lambda a: a, [1])
---
x = torch.tensor([1.,2.], requires_grad=True); torch.autograd.backward([x.sum(), (x*x).sum()]); x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); torch.autograd.backward([x*2, x*x], [torch.ones(2), torch.ones(2)]); x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); torch.autograd.backward(x*2, torch.ones(2), inputs=x); x.grad
---
x = torch.tensor([1.,2.], requires_grad=True); h = x.register_hook(lambda g: g*3); torch.autograd.grad(x.sum(), x)
---
x = torch.ones(2, requires_grad=True); y = x*2; y.retain_grad(); y.mul_(3); y.sum().backward(); x.grad
---
x = torch.ones(3, requires_grad=True); y = x.clone(); y[1:] += y[:2].clone(); y.sum().backward(); x.grad
---
x = torch.ones(2,3, requires_grad=True); y = x*1; y[:, 0] = 0; y[0].mul_(5); y.t()[2].add_(1); (y*torch.arange(6.).view(2,3)).sum().backward(); x.grad
---
x = torch.ones(2,3, requires_grad=True); y = x*1; v = y.view(-1); with_v = v*2; y.mul_(3); (v + with_v).sum().backward(); x.grad
---
x = torch.ones(4, requires_grad=True); y = x*1; a = y[:2]; b = y[1:3]; a.mul_(2); c = b*3; b.mul_(5); (a.sum() + b.sum() + c.sum() + y.sum()).backward(); x.grad
---
x = torch.ones(4, requires_grad=True); b = torch.zeros(4); b[1:3].copy_(x[:2]*3); b.mul_(2); b.sum().backward(); x.grad
---
x = torch.ones(4, requires_grad=True); y = (x*1)[None]; y.squeeze_(0).mul_(2); y.sum().backward(); x.grad
---
x = torch.ones(4, requires_grad=True); y = x*1; y.masked_fill_(torch.tensor([True,False,True,False]), 3.); y.sum().backward(); x.grad
---
x = torch.ones(4, requires_grad=True); w = x*1; w.data = torch.zeros(2); w
---
x = torch.ones(2, requires_grad=True); y = x.detach(); y.add_(5); (x*x).sum().backward(); x.grad, x
---
x = torch.ones(2, requires_grad=True); x.grad = torch.ones(2); x.sum().backward(); x.grad
---
x = torch.ones(2, requires_grad=True); y = x.sum(); y.backward(); del x.grad; x.grad
---
x = torch.ones(2, requires_grad=True); y = x*2; torch.autograd.grad(y.sum(), x), x.grad
---
x = torch.tensor(3., requires_grad=True); y = x*x; y.backward(); x.grad, y.is_leaf, y.grad_fn is not None
---
x = torch.ones(2, requires_grad=True); y = x*2; y.backward(torch.ones(2, dtype=torch.float64))
---
x = torch.ones(2, requires_grad=True); y = (x*2).sum(); y.backward(torch.tensor([1.]))
---
x = torch.ones(2, requires_grad=True); y = (x*2).sum(); y.backward(torch.tensor(2.)); x.grad
---
with torch.no_grad(): y = torch.ones(2, requires_grad=True)*2
y.sum().backward()
---
x = torch.ones(2, requires_grad=True); y = x*2; z = y.detach(); z.add_(5); y
---
x = torch.ones(2, requires_grad=True); torch.autograd.backward(x*2, [torch.ones(2)]); x.grad
---
x = torch.ones(2, requires_grad=True); torch.autograd.backward([x*2], grad_tensors=torch.ones(2)); x.grad
---
x = torch.ones(2, requires_grad=True); y = x.sum(); torch.autograd.grad(y, x, torch.tensor(3.))
---
x = torch.ones(2, requires_grad=True); torch.autograd.grad(x.sum(), {})
---
x = torch.ones(2, requires_grad=True); torch.autograd.grad(x.sum(), [])
---
x = torch.ones(2, requires_grad=True); torch.autograd.grad([], x)
---
x = torch.ones(2, requires_grad=True); torch.autograd.grad(3, x)
---
x = torch.ones(2, requires_grad=True); torch.autograd.backward(3)
---
x = torch.ones(2, requires_grad=True); y = x.expand(3,2); y.sum().backward(); x.grad
---
x = torch.ones(2, 2, requires_grad=True); x.t().sum().backward(); x.grad, x.grad.stride()
---
x = torch.ones(2, 3, requires_grad=True); x.t().contiguous().mul(2).sum().backward(); x.grad.stride()
---
x = torch.ones(2, requires_grad=True); y = torch.where(x > 0, x, 0.); y.sum().backward(); x.grad
---
x = torch.zeros(2, requires_grad=True); x.abs().sum().backward(); g1 = x.grad; x.grad = None; x.relu().sum().backward(); g2 = x.grad; x.grad = None; x.sqrt().sum().backward(); g1, g2, x.grad
---
x = torch.tensor([1., 1.], requires_grad=True); x.max().backward(); x.grad
---
x = torch.tensor([1., 1.], requires_grad=True); x.max(0)[0].backward(); x.grad
---
x = torch.tensor([3., 1., 2.], requires_grad=True); v, i = x.topk(2); v.sum().backward(); x.grad, i
---
x = torch.tensor([3., 1., 2.], requires_grad=True); x.median().backward(); x.grad
---
x = torch.tensor([2.], requires_grad=True); w = torch.tensor([3.], requires_grad=True); (x*w).backward(); x.grad, w.grad
---
w = torch.randn(3, requires_grad=True); opt = torch.optim.SGD([w], lr=0.1); (w*w).sum().backward(); v = w._version; opt.step(); w._version > v, w.is_leaf, w.grad_fn
---
w = torch.nn.Parameter(torch.ones(2)); w.requires_grad, w.is_leaf, type(w.data), type(w.detach()), type(w + 1), w
---
w = torch.nn.Parameter(torch.ones(2)); w.data = torch.zeros(3); w
---
w = torch.nn.Parameter(torch.ones(2)); y = (w * 2).sum(); w.data.mul_(5); y.backward(); w.grad
---
w = torch.nn.Parameter(torch.ones(2)); copy.deepcopy(w), pickle.loads(pickle.dumps(w))
---
w = torch.nn.Parameter(torch.ones(2)); w.add_(1)
---
w = torch.nn.Parameter(torch.ones(2).long())
---
x = torch.ones(3, requires_grad=True); y = x * 2; y[0].backward(); x.grad
---
x = torch.ones(3, requires_grad=True); s = 0
for v in x: s = s + v * 2
s.backward(); x.grad
---
x = torch.ones(3, requires_grad=True); a, b, c = x; (a*b*c).backward(); x.grad
---
x = torch.ones(3, requires_grad=True); y = torch.stack([v * i for i, v in enumerate(x)]); y.sum().backward(); x.grad
---
x = torch.ones(3, requires_grad=True); y = x * 1; y.pow_(2); y.sigmoid_(); y.sum().backward(); x.grad
---
x = torch.ones(3, requires_grad=True); y = torch.empty(3); torch.mul(x.detach(), 2, out=y); y.requires_grad
---
x = torch.ones(3, requires_grad=True); y = torch.empty(3)
with torch.no_grad(): torch.mul(x, 2, out=y)
y
---
x = torch.ones(2, 2, requires_grad=True); x.fill_diagonal_(3)
---
x = torch.ones(2, 2, requires_grad=True); y = x*1; y.fill_diagonal_(3.); y.sum().backward(); x.grad
---
x = torch.ones(2, 2, requires_grad=True); y = x*1; y.copy_(torch.zeros(2,2)); y.requires_grad, y.grad_fn, y.sum().backward(), x.grad
---
x = torch.ones(2, 2, requires_grad=True); y = x*1; y.zero_(); y.sum().backward(); x.grad
---
x = torch.ones(2, 2, requires_grad=True); y = x*1; y.t_(); y.sum().backward(); x.grad
---
x = torch.ones(4, requires_grad=True); y = x*1; y.resize_(2,2)
---
x = torch.ones(4, requires_grad=True); y = x.view(2,2); y.is_leaf, y._is_view(), y._base is x, x._is_view()
---
x = torch.ones(4); y = x.view(2,2)[0]; y._base is x, y._version, x.add_(1)._version, y._version
---
x = torch.ones(4, requires_grad=True); y = x.double().float(); y.sum().backward(); x.grad.dtype
---
x = torch.ones(4, requires_grad=True, dtype=torch.half); y = x.float().sum(); y.backward(); x.grad
---
x = torch.ones(2, requires_grad=True); y = torch.complex(x, x); (y*y.conj()).real.sum().backward(); x.grad
---
z = torch.tensor([1+2j], requires_grad=True); (z.abs()**2).sum().backward(); z.grad
---
z = torch.tensor([1+2j], requires_grad=True); z.real.sum().backward(); z.grad
---
z = torch.tensor([1+2j], requires_grad=True); z.imag.sum().backward(); z.grad
---
z = torch.tensor([1+2j], requires_grad=True); torch.view_as_real(z).sum().backward(); z.grad
---
x = torch.ones(2, requires_grad=True); (x * (1+2j)).real.sum().backward(); x.grad
---
x = torch.ones(2, requires_grad=True); h = x.register_hook(lambda g: None); h2 = x.register_hook(lambda g: g.mul(2)); x.sum().backward(); h.remove(); h2.remove(); x.grad
---
x = torch.ones(2, requires_grad=True); x.requires_grad = False; y = x*2; y.requires_grad
---
x = torch.ones(2, requires_grad=True); y = x*2; x.requires_grad_(False); y.sum().backward(); x.grad
---
x = torch.ones(2, requires_grad=True); y = (x*2).sum(); del x; y.backward(); y
---
torch.is_grad_enabled(), torch._C._get_privateuse1_backend_name() if False else None
"""

NAMES = r"""
x = torch.ones(2,2, requires_grad=True); f = x+1; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x-1; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x*2; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x/2; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x**2; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = 1/x; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = -x; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x@x; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.mm(x); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.t(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.T; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.view(4); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.reshape(4); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.sum(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.mean(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.mean(0); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.sum(0); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x[0]; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x[:, 0]; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x[[0]]; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x[0,0]; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x[None]; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.exp(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.log(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.relu(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.sigmoid(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.tanh(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.softmax(0); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.log_softmax(0); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.abs(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.clamp(0); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.clamp(0,1); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.sqrt(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.max(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.max(0)[0]; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.min(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.cumsum(0); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.permute(1,0); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.transpose(0,1); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.squeeze(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.unsqueeze(0); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.expand(3,2,2); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = torch.cat([x,x]); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.clone(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.contiguous(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.to(torch.float64); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.norm(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.std(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.var(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.prod(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.sin(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.cos(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.flatten(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.unbind()[0]; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.gather(0, torch.zeros(1,2,dtype=torch.long)); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.index_select(0, torch.tensor([0])); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.masked_fill(x>0, 0); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = torch.where(x>0, x, x); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.tril(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = torch.addmm(x,x,x); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.bmm(x) if x.dim()==3 else x; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = torch.outer(x[0],x[0]); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x[0].dot(x[0]); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.mv(x[0]); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = torch.einsum('ij->ji', x); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.flip(0); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.roll(1); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.pow(x); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = 2**x; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.logsumexp(0); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.topk(1)[0]; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.sort()[0]; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.floor(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.sign(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.reciprocal(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.rsqrt(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.square(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.maximum(x); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.atan2(x); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.erf(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.select(0,0); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.narrow(0,0,1); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.as_strided((2,),(1,)); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.view_as(x); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.detach().requires_grad_().clone(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.real; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.type(torch.float64); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.half(); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.lerp(x, 0.5); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.addcmul(x, x); f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.cross(x) if x.shape[-1]==3 else x; f.grad_fn
x = torch.ones(2,2, requires_grad=True); f = x.matmul(x[0]); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.conv2d(x, w); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.max_pool2d(x,2); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.avg_pool2d(x,2); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.relu(x); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.gelu(x); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.silu(x); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.leaky_relu(x); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.elu(x); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.softplus(x); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.dropout(x, 0.5); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.linear(x[0,0], x[0,0]); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.linear(x[0,0], x[0,0], x[0,0,0]); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.mse_loss(x, torch.zeros(1,1,4,4)); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.l1_loss(x, torch.zeros(1,1,4,4)); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.cross_entropy(x[0,0], torch.zeros(4, dtype=torch.long)); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.nll_loss(x[0,0], torch.zeros(4, dtype=torch.long)); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.binary_cross_entropy(x, x.detach()); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.binary_cross_entropy_with_logits(x, x.detach()); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.smooth_l1_loss(x, x.detach()); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.layer_norm(x, (4,)); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.batch_norm(x, None, None, training=True); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.embedding(torch.tensor([0]), x[0,0]); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.pad(x, (1,1)); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.adaptive_avg_pool2d(x, 1); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.adaptive_avg_pool2d(x, 2); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.hardtanh(x); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.log_softmax(x, 1); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.logsigmoid(x); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.normalize(x); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.kl_div(x, x.detach(), reduction='sum'); f.grad_fn
F = torch.nn.functional; x = torch.ones(1,1,4,4, requires_grad=True); w = torch.ones(1,1,3,3, requires_grad=True); f = F.one_hot(torch.tensor([1])); f.grad_fn
"""


@pytest.mark.parametrize("program", PROGRAMS.strip().split("\n---\n"))
def test_programs(agree, program):
    agree(program)


@pytest.mark.parametrize("program", NAMES.strip().splitlines())
def test_names(agree, program):
    agree(program)
