"""Tensors do what PyTorch's do: attributes, conversions, creation, exchange, promotion, errors.

One program a line; what its last expression gives, or the error that it raises, is the same.
"""

from __future__ import annotations

import pytest

CREATION_AND_ATTRIBUTES = r"""
torch.zeros(2,3).size()
torch.zeros(2,3).size(1)
torch.zeros(2,3).size(dim=-1)
torch.zeros(2,3).size(2)
torch.zeros(()).size(0)
torch.zeros(2,3).stride(2)
torch.zeros(2,3).stride(-1)
torch.zeros(2,3).stride(dim=0)
torch.zeros(2,3,4).permute(2,0,1).stride()
torch.zeros(2,3).device
str(torch.zeros(2).device), torch.device("cuda"), torch.device("cuda:1"), torch.device("cuda", 1), torch.device(1)
torch.device("foo")
torch.device("cpu:x")
torch.device("cuda:0", 1)
torch.device(type="cpu")
torch.device("cpu") == torch.device("cpu", 0), torch.device("cpu") == "cpu"
hash(torch.device("cpu")) == hash(torch.device("cpu"))
{torch.device("cpu"): 1}[torch.device("cpu")]
torch.zeros(2, device="cpu").device
torch.zeros(2, device=torch.device("cpu", 0)).device
torch.zeros(2, device="cuda")
torch.zeros(2).cuda()
torch.zeros(2).to("cuda")
torch.zeros(2).to("cuda:0")
torch.tensor([1], device="cuda")
torch.cuda.is_available(), torch.cuda.device_count()
torch.zeros(2,3).ndim, torch.zeros(2,3).dim(), torch.zeros(2,3).numel(), torch.zeros(2,3).nelement(), torch.numel(torch.zeros(3))
torch.zeros(2,3).is_contiguous(), torch.zeros(2,3).t().is_contiguous(), torch.zeros(1,3).t().is_contiguous()
torch.zeros(2,3).T
torch.zeros(2,3,4).T
torch.zeros(2).T
torch.zeros(2,3,4).mT.shape
torch.zeros(2).mT
torch.zeros(2,3,4).H
torch.zeros(2,3).H.shape
torch.zeros(2).H
torch.zeros(2).mH
torch.zeros(()).H
torch.zeros(()).mT
torch.zeros(()).T
torch.tensor([1+2j, 3-1j]).real
torch.tensor([1+2j, 3-1j]).imag
torch.tensor([1.,2.]).real
torch.tensor([1.,2.]).imag
x = torch.tensor([1+2j, 3-1j]); x.real = torch.tensor([5., 6.]); x
x = torch.tensor([1+2j, 3-1j]); x.imag = 0; x
x = torch.tensor([1+2j, 3-1j]); x.real[0] = 9; x
torch.tensor([1+2j]).H
torch.tensor(3.5).item(), torch.tensor(3).item(), torch.tensor(True).item(), torch.tensor(1+2j).item(), torch.tensor([[2]]).item()
torch.tensor(1.5, dtype=torch.bfloat16).item(), torch.tensor(1.5, dtype=torch.half).item()
torch.zeros(2).item()
torch.zeros(0).item()
torch.zeros(2,2).tolist(), torch.tensor(3).tolist(), torch.zeros(0).tolist(), torch.zeros(2,0).tolist(), torch.tensor([True]).tolist()
torch.zeros(2, dtype=torch.bfloat16).tolist()
torch.zeros(2,3).long(), torch.zeros(2).double(), torch.zeros(2).half(), torch.zeros(2).bool(), torch.zeros(2).int(), torch.zeros(2).short(), torch.zeros(2).char(), torch.zeros(2).byte(), torch.zeros(2).bfloat16(), torch.zeros(2).cfloat(), torch.zeros(2).cdouble()
x = torch.zeros(2); x.float() is x, x.to(torch.float32) is x, x.to("cpu") is x, x.cpu() is x, x.type(torch.float32) is x, x.contiguous() is x
torch.zeros(2).type(), torch.zeros(2).long().type(), torch.zeros(2).bool().type(), torch.zeros(2).to(torch.bfloat16).type(), torch.zeros(2).cfloat().type()
torch.zeros(2).type("torch.LongTensor"), torch.zeros(2).type(torch.LongTensor), torch.zeros(2).type(torch.int8)
torch.zeros(2).type("foo")
torch.zeros(2).type_as(torch.zeros(2).long())
torch.zeros(2).to(torch.zeros(2).long())
torch.zeros(2).to(dtype=torch.int8, copy=True)
torch.zeros(2).to(torch.int8, True, True)
torch.zeros(2).to("cpu", torch.int8)
torch.zeros(2).to("nope")
torch.zeros(2).to()
torch.tensor([1.9,-1.9, 300.]).to(torch.int32)
torch.tensor([300, -1]).to(torch.uint8)
torch.tensor([0., 0.5, float('nan')]).bool()
torch.tensor([1+2j]).to(torch.float32)
torch.zeros(2,3,4,5).contiguous(memory_format=torch.channels_last).stride()
torch.zeros(2,3,4,5).to(memory_format=torch.channels_last).is_contiguous(memory_format=torch.channels_last)
torch.zeros(2,3).contiguous(memory_format=torch.channels_last)
torch.zeros(2,3).contiguous(memory_format=torch.preserve_format)
torch.zeros(2,3,4,5,6).to(memory_format=torch.channels_last_3d).stride()
(torch.zeros(2,3,4,5).to(memory_format=torch.channels_last) + 1).stride()
(torch.zeros(2,3,4,5).to(memory_format=torch.channels_last) + torch.zeros(3,1,1)).stride()
(torch.zeros(2,3,4,5).to(memory_format=torch.channels_last) + torch.zeros(2,3,4,5)).stride()
(torch.zeros(2,3,4,5) + torch.zeros(2,3,4,5).to(memory_format=torch.channels_last)).stride()
(torch.zeros(3,4).t() + torch.zeros(4,3)).stride(), (torch.zeros(4,3) + torch.zeros(3,4).t()).stride(), (torch.zeros(3,4).t()*2).stride()
torch.zeros(3,4,5)[:, ::2].mul(2).stride(), torch.zeros(3,4,5).permute(2,0,1)[:, :2].mul(2).stride()
torch.zeros(3,4,5).permute(2,0,1).clone().stride(), torch.zeros(3,4,6)[..., ::2].clone().stride(), torch.zeros(1,3).expand(4,3).clone().stride(), (torch.zeros(1,3).expand(4,3)+1).stride(), (torch.zeros(3,1).expand(3,4)+1).stride()
torch.zeros_like(torch.zeros(3,4).t()).stride(), torch.zeros_like(torch.zeros(3,4).t(), memory_format=torch.contiguous_format).stride(), torch.empty_like(torch.zeros(1,3).expand(4,3)).stride()
torch.ones_like(torch.zeros(2,3,4).permute(2,0,1)).stride()
torch.zeros(3,4).t().to(torch.float64).stride()
torch.zeros(3,4).t().double().stride(), torch.zeros(4,6)[:, ::2].double().stride()
torch.zeros(3,4,5).permute(2,0,1).exp().stride(), (torch.zeros(3,4,5).permute(2,0,1) > 0).stride()
torch.zeros(2, dtype=float).dtype
torch.zeros(2, dtype=int).dtype
torch.zeros(2, dtype=bool).dtype
torch.tensor([1,2], dtype=float)
torch.zeros(2).to(int)
torch.zeros(2).to(float).dtype
torch.zeros(2, dtype="float32")
torch.zeros(2, dtype=np.float32)
torch.zeros(2.5)
torch.zeros("a")
torch.zeros((2, "a"))
torch.zeros([2, 3]), torch.zeros(torch.Size([2, 3])), torch.zeros((2,)), torch.zeros(()), torch.zeros(0)
torch.zeros(torch.tensor(2), 3).shape
torch.zeros(10**10, 10**10)
torch.ones(2**62)
torch.zeros(size=(2,3))
torch.ones(size=[2])
torch.empty(size=(2,0))
torch.full((2,), 3), torch.full((2,), 3.), torch.full((2,), True), torch.full((2,), 1j), torch.full((2,), 3, dtype=torch.float64)
torch.full(2, 3)
torch.full((2,), 1.5, dtype=torch.int64)
torch.full((2,), 300, dtype=torch.uint8)
torch.full((2,), float('inf'), dtype=torch.int64)
torch.eye(3), torch.eye(2,3), torch.eye(3, dtype=torch.int64), torch.eye(0)
torch.eye(-1)
torch.eye(2.5)
torch.arange(5), torch.arange(5.), torch.arange(1,5,2), torch.arange(1, 2, 0.25), torch.arange(5, 0, -2), torch.arange(0), torch.arange(3, dtype=torch.float64)
torch.arange(1, 0)
torch.arange(0, 1, 0)
torch.arange(float('nan'))
torch.arange(float('inf'))
torch.arange(0, 3, dtype=torch.bool)
torch.arange(True)
torch.arange(0, 1, 0.1).shape, torch.arange(0.1, 0.7, 0.2)
torch.arange(end=3), torch.arange(start=1, end=3), torch.arange(0, end=4, step=2)
torch.arange('a')
torch.linspace(0, 1, -1)
torch.linspace(0, 1)
torch.logspace(0, 2, 3), torch.logspace(0, 3, 4, base=2), torch.logspace(-1, 1, 5, dtype=torch.float64)
torch.range(0, 3)
torch.empty(2,3).shape, torch.empty((2,3), dtype=torch.int64).dtype, torch.empty(2,3,4,5, memory_format=torch.channels_last).stride()
torch.empty_strided((2,3),(1,2)).stride()
torch.zeros(2).new_zeros(3), torch.zeros(2).new_ones((2,2)), torch.zeros(2).new_full((2,), 3), torch.zeros(2).new_tensor([1,2]), torch.zeros(2).new_empty(2).shape
torch.zeros(2).long().new_tensor([1.5])
torch.zeros(2).new_full((2,), 1.5, dtype=torch.int64)
torch.zeros(2).new(3).shape, torch.zeros(2).long().new([1,2])
torch.Tensor(2,3).shape, torch.Tensor([1,2]), torch.Tensor(), torch.Tensor((1,2)), torch.Tensor(torch.Size([2])).shape, torch.Tensor(0)
torch.Tensor(2.5)
torch.Tensor("a")
torch.Tensor(np.array([1,2,3.]))
torch.Tensor(torch.tensor([1,2]))
torch.FloatTensor([1,2]), torch.LongTensor([1,2]), torch.DoubleTensor(2).dtype, torch.ByteTensor([1]), torch.BoolTensor([1,0]), torch.IntTensor(2,2).dtype, torch.HalfTensor([1])
torch.LongTensor([1.5, 2])
torch.FloatTensor(np.zeros(3))
torch.LongTensor(torch.tensor([1,2]))
isinstance(torch.zeros(2), torch.FloatTensor), isinstance(torch.zeros(2), torch.LongTensor), isinstance(torch.zeros(2).long(), torch.LongTensor)
torch.tensor([1,2]).dtype, torch.tensor([1,2.]).dtype, torch.tensor([True]).dtype, torch.tensor([True, 1]).dtype, torch.tensor([1j]).dtype, torch.tensor([]).dtype, torch.tensor(5).dtype
torch.tensor(np.float32(3)), torch.tensor(np.int16(3)), torch.tensor(np.array([1,2], dtype=np.int8)), torch.tensor([np.float32(3), np.float32(4)]), torch.tensor([np.array([1,2]), np.array([3,4])])
torch.tensor([np.float64(3), 2])
torch.tensor([np.int32(3), np.int32(2)]).dtype
torch.tensor([[1,2],[3]])
torch.tensor("a")
torch.tensor(["a"])
torch.tensor(None)
torch.tensor([None])
torch.tensor({})
torch.tensor({1,2})
torch.tensor(object())
torch.tensor([object()])
torch.tensor(range(3)), torch.tensor((1,2)), torch.tensor([(1,2),(3,4)]), torch.tensor([[],[]]), torch.tensor([[[]]])
torch.tensor(x for x in range(3))
torch.tensor([torch.tensor(1), torch.tensor(2)]), torch.tensor([torch.tensor(1.), torch.tensor(2.)]), torch.tensor([torch.tensor(1), 2.5])
torch.tensor([torch.tensor([1]), torch.tensor([2])])
torch.tensor(torch.tensor([1,2]))
torch.tensor(2**63)
torch.tensor(2**64)
torch.tensor([2**63-1, -2**63])
torch.tensor(300, dtype=torch.uint8)
torch.tensor(-1, dtype=torch.uint8)
torch.tensor([1.9], dtype=torch.int64)
torch.tensor(1e40)
torch.tensor(1e300, dtype=torch.float32)
torch.tensor(1j, dtype=torch.float32)
torch.tensor([1j], dtype=torch.int64)
torch.tensor([float('nan')], dtype=torch.int64)
torch.tensor(2, dtype=torch.bool)
torch.tensor([1.,2.], requires_grad=True)
torch.tensor([1.], dtype="float")
torch.tensor()
torch.tensor([1], foo=2)
torch.tensor(b"abc")
torch.tensor(bytearray(b"abc"))
torch.tensor(np.array(["a"]))
torch.tensor(np.array([1, None]))
torch.tensor(np.zeros(2, dtype=np.uint16)).dtype
torch.tensor(np.float16(1)).dtype
torch.as_tensor([1,2]), torch.as_tensor(3.)
x = torch.zeros(2); torch.as_tensor(x) is x, torch.as_tensor(x, dtype=torch.int64)
a = np.zeros(3); t = torch.as_tensor(a); a[0] = 1; t
a = np.zeros(3); t = torch.asarray(a); a[0] = 1; t
x = torch.zeros(2); torch.asarray(x) is x, torch.asarray(x, copy=True) is x
torch.asarray([1,2], copy=False)
torch.complex(torch.tensor([1.]), torch.tensor([2.]))
torch.polar(torch.tensor([1.]), torch.tensor([0.]))
torch.cat([torch.zeros(2), torch.zeros(2)], out=torch.empty(1))
"""

BEHAVIOUR = r"""
len(torch.zeros(3,2)), len(torch.zeros(0))
len(torch.zeros(()))
list(torch.tensor([[1,2],[3,4]]))
list(torch.tensor(3))
1 in torch.tensor([1,2]), 5 in torch.tensor([1,2]), torch.tensor(2) in torch.tensor([1,2]), 2.0 in torch.tensor([1,2])
"a" in torch.tensor([1,2])
[1,2] in torch.tensor([[1,2]])
bool(torch.tensor(0)), bool(torch.tensor([2.])), bool(torch.tensor([[0.]]))
bool(torch.tensor([1,2]))
bool(torch.tensor([]))
not torch.tensor([1,2])
int(torch.tensor(3.7)), float(torch.tensor([2])), complex(torch.tensor(1j)), int(torch.tensor([[5]]))
int(torch.zeros(2))
float(torch.zeros(2))
float(torch.tensor(1j))
int(torch.tensor(float('nan')))
[10,20,30][torch.tensor(1)], list(range(torch.tensor(3)))
[10,20][torch.tensor(1.)]
[10,20][torch.tensor([1])]
[10,20][torch.tensor(True)]
"%d %.2f" % (torch.tensor(3), torch.tensor(2.5))
f"{torch.tensor(2.5):.3f} {torch.tensor(7):04d} {torch.tensor([1,2])} {torch.tensor(1.5)}"
f"{torch.tensor([1.,2.]):.3f}"
format(torch.tensor(2.5, requires_grad=True), ".2f")
"{}".format(torch.tensor(2.5)), str(torch.tensor(2)), repr(torch.tensor([2]))
x = torch.zeros(2); d = {x: 1}; d[x], hash(x) == id(x)
round(torch.tensor(2.567), 2), round(torch.tensor(2.5))
import math; math.floor(torch.tensor(2.5)), math.ceil(torch.tensor(2.5)), math.sqrt(torch.tensor(4.)), math.trunc(torch.tensor(2.5))
abs(torch.tensor([-1,2])), -torch.tensor([1,2]), +torch.tensor([1]), ~torch.tensor([True, False]), ~torch.tensor([1,2])
divmod(torch.tensor([7]), torch.tensor([2]))
torch.tensor([7]) // 2, torch.tensor([7]) % 2, torch.tensor([7]) / 2, 7 // torch.tensor([2]), 7 % torch.tensor([4]), 2 ** torch.tensor([3]), 1 / torch.tensor([2]), torch.tensor([7]) ** 2, 5 - torch.tensor([2])
torch.tensor([True]) & True, torch.tensor([6]) | 1, torch.tensor([6]) ^ 3, torch.tensor([1]) << 3, torch.tensor([16]) >> 2, 1 << torch.tensor([2]), 6 & torch.tensor([3])
torch.tensor([1,2]) == torch.tensor([1,3]), torch.tensor([1,2]) != 1, torch.tensor([1,2]) < 2, 2 > torch.tensor([1,2]), torch.tensor([1]) == "a", torch.tensor([1]) != None, torch.tensor([1]) == None
torch.tensor([1]) < "a"
torch.tensor([1]) + "a"
torch.tensor([1]) + None
"a" + torch.tensor([1])
[1] + torch.tensor([1])
torch.tensor([1]) + [1]
torch.tensor([1]) @ torch.tensor([1]), torch.eye(2) @ torch.ones(2)
torch.tensor([True]) - torch.tensor([True])
-torch.tensor([True])
torch.tensor([1.5]) & 1
torch.tensor([1,2]) + torch.tensor([1,2,3])
torch.zeros(2,3) + torch.zeros(3,2)
pickle.loads(pickle.dumps(torch.tensor([1.,2.], requires_grad=True)))
copy.copy(torch.tensor([1,2]))
x = torch.tensor([1.,2.]); y = copy.copy(x); y[0] = 5; x
x = torch.tensor([1.,2.]); y = copy.deepcopy(x); y[0] = 5; x
x = torch.tensor([1.,2.], requires_grad=True); y = copy.deepcopy(x); y.requires_grad, y.is_leaf
x = torch.tensor([1.,2.], requires_grad=True); copy.deepcopy(x*2)
x = torch.zeros(3); a, b = copy.deepcopy((x, x[1:])); b[0] = 3; a
x = torch.zeros(3,4).t(); copy.deepcopy(x).stride()
x = torch.zeros(2); x.foo = [1]; y = copy.deepcopy(x); y.foo is not x.foo, y.foo
a = np.arange(3.); t = torch.from_numpy(a); a[0] = 9; t
a = np.arange(3.); t = torch.from_numpy(a); t[1] = 7; a
a = np.arange(3.); t = torch.from_numpy(a); u = t * 2; a[0] = 9; u
a = np.arange(3.); t = torch.from_numpy(a); u = t + 1; t.mul_(3); a[0] = 9; u, t, a
t = torch.arange(3.); u = t * 2; n = t.numpy(); n[0] = 9; u, t
t = torch.arange(3.); n = t.numpy(); t += 1; n
t = torch.arange(3.); n = t.numpy(); t[1:].mul_(5); n
t = torch.arange(6.).view(2,3); n = t[:, 1].numpy(); t.zero_(); n
t = torch.arange(6.).view(2,3).t(); n = t.numpy(); n.strides, n.flags.writeable
t = torch.arange(3.); n = t.numpy(); n2 = t.numpy(); n[0] = 5; n2
t = torch.arange(3.); n = t.numpy(); u = t.sum(); n[:] = 1; v = t.sum(); u, v
torch.zeros(2, requires_grad=True).numpy()
torch.zeros(2, requires_grad=True).numpy(force=True)
torch.zeros(2, requires_grad=True).detach().numpy()
np.array(torch.zeros(2, requires_grad=True))
torch.zeros(2, dtype=torch.bfloat16).numpy()
np.array(torch.arange(3)), np.asarray(torch.arange(3)), np.array(torch.arange(3), dtype=np.float32)
np.array([torch.tensor(1.), torch.tensor(2.)])
np.sin(torch.zeros(2))
np.add(torch.ones(2), torch.ones(2))
np.add(np.ones(2), torch.ones(2))
np.exp(torch.tensor(0.))
torch.ones(2) + np.ones(2)
torch.ones(2) * np.float64(2)
np.float64(2) * torch.ones(2)
np.float32(2) + torch.ones(2, dtype=torch.int64)
torch.ones(2) + np.int64(1)
np.ones(2) == torch.ones(2)
torch.ones(2) == np.ones(2)
torch.ones(2,2).double() @ np.ones((2,2))
np.testing.assert_allclose(torch.ones(2), np.ones(2))
np.concatenate([torch.ones(2), torch.zeros(1)])
np.allclose(torch.ones(2), 1)
torch.from_numpy([1])
torch.from_numpy(np.arange(3)[::-1])
torch.from_numpy(np.array(["a"]))
torch.from_numpy(np.array([1, None]))
torch.from_numpy(np.arange(6).reshape(2,3).T).stride()
torch.from_numpy(np.arange(6)[::2])
a = np.arange(3.); a.flags.writeable = False; torch.from_numpy(a)
torch.from_numpy(np.float64(3))
torch.from_numpy(np.arange(3, dtype='>i4'))
torch.from_numpy(np.array(3.))
torch.from_numpy(np.zeros((0,3))).shape
torch.frombuffer(bytearray(b"\x01\x02\x03\x04"), dtype=torch.uint8)
torch.frombuffer(bytearray(8), dtype=torch.float32, offset=4)
torch.frombuffer(bytearray(7), dtype=torch.float32)
torch.frombuffer(b"", dtype=torch.float32)
b = bytearray(4); t = torch.frombuffer(b, dtype=torch.uint8); t[0] = 7; bytes(b)
t = torch.arange(3.); n = np.from_dlpack(t); t[0] = 5; n
n = np.arange(3.); t = torch.from_dlpack(n); n[0] = 5; t
n = np.arange(3.); t = torch.from_dlpack(n); t[0] = 5; n
t = torch.arange(3.); u = torch.from_dlpack(t); u[0] = 9; t
torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(torch.arange(3)))
torch.zeros(2, requires_grad=True).__dlpack__()
x = torch.arange(4.); x.resize_(2, 2)
x = torch.arange(4.); x.resize_(2)
x = torch.arange(4.); x.resize_((1,4)).shape
x = torch.zeros(2, requires_grad=True); x.resize_(3)
x = torch.arange(4.); y = torch.zeros(2); y.set_(x); y[0] = 5; x, y
x = torch.arange(6.); y = torch.zeros(0); y.set_(x.untyped_storage(), 2, (2,2), (2,1))
x = torch.arange(6.); y = torch.zeros(0); y.set_(x, 1, (2,), (1,))
x = torch.zeros(3); p = x.data_ptr(); x.add_(1); x.mul_(2); x[0] = 5; x.data_ptr() == p
x = torch.zeros(3); x.data_ptr() == x[0].data_ptr(), x[1].data_ptr() - x.data_ptr(), x.untyped_storage().data_ptr() == x[1:].untyped_storage().data_ptr()
torch.zeros(0).data_ptr()
x = torch.zeros(3, requires_grad=True); p = x.data_ptr(); (x*2).sum().backward(); exec("with torch.no_grad(): x -= x.grad"); x.data_ptr() == p, x
torch.zeros(3).untyped_storage().nbytes(), torch.zeros(3).untyped_storage().size(), len(torch.zeros(3).untyped_storage())
torch.zeros(6)[2:].storage_offset(), torch.zeros(6)[2:].untyped_storage().nbytes()
torch.tensor([1.,2.]).view(torch.int32), torch.tensor([1.]).view(torch.uint8), torch.tensor([1,2]).view(torch.float64), torch.zeros(4, dtype=torch.uint8).view(torch.float32)
torch.zeros(2,4).t().view(torch.int64)
x = torch.tensor([1.,2.]); x.view(torch.int32)[0] = 0; x
torch.tensor([1+2j]).view(torch.float32)
torch.zeros(()).view(torch.int8)
out = torch.empty(3); torch.add(torch.ones(2), 1, out=out)
out = torch.empty(0); torch.add(torch.ones(2), 1, out=out)
out = torch.empty(2, dtype=torch.int64); torch.add(torch.ones(2), 1, out=out)
out = torch.empty(2, dtype=torch.float64); torch.add(torch.ones(2), 1, out=out)
out = torch.empty(2); torch.add(torch.ones(2, requires_grad=True), 1, out=out)
out = torch.zeros(2,3); torch.add(torch.ones(3,2).t(), 1, out=out).stride()
out = torch.zeros(3,2).t(); torch.mm(torch.ones(2,2), torch.ones(2,3), out=out).stride()
v, i = torch.empty(0), torch.empty(0, dtype=torch.int64); r = torch.max(torch.tensor([[1.,3.]]), 1, out=(v, i)); v, i, r.values is v
x = torch.ones(2, dtype=torch.int64); x += 1.5
x = torch.ones(2, dtype=torch.int64); x /= 2
x = torch.ones(2, dtype=torch.bool); x += 1
x = torch.ones(2); x += 1j
x = torch.ones(2); x += torch.ones(3)
x = torch.ones(2); x += torch.ones(3, 2)
x = torch.ones(2); x.add_(torch.ones(2).double()); x
x = torch.ones(2, dtype=torch.int32); x += torch.ones(2, dtype=torch.int64); x
x = torch.ones(1,3).expand(2,3); x += 1
x = torch.ones(2, dtype=torch.uint8); x.sub_(2)
x = torch.zeros(2); x.copy_(torch.tensor([1,2])); x
x = torch.zeros(2); x.copy_(torch.ones(3))
x = torch.zeros(2); x.fill_(torch.tensor(3)); x
x = torch.zeros(2); x.fill_(torch.tensor([3, 4]))
x = torch.zeros(2, dtype=torch.int64); x.fill_(2.7)
torch.Size([2,3]), torch.Size((2,)) + torch.Size((3,)), torch.Size([2]) + (3,), (2,) + torch.Size([3]), torch.Size([2,3])[0], torch.Size([2,3])[:1], torch.Size([2,3]) * 2, torch.Size([2,3]).numel(), torch.Size([2,3]) == (2,3), tuple(torch.Size([2])), torch.Size([2,3])[-1]
torch.Size([2.5])
torch.Size(["a"])
torch.Size(3)
torch.Size([torch.tensor(2)])
pickle.loads(pickle.dumps(torch.Size([2,3]))), hash(torch.Size([2])) == hash((2,)), torch.Size()
isinstance(torch.zeros(2).shape, tuple), torch.zeros(2,3).shape[1:], [*torch.zeros(2,3).shape]
torch.Size([1]) + [2]
torch.Size([2,3]).index(3), torch.Size([2,3]).count(2)
torch.float32, torch.float, torch.half, torch.long.itemsize, torch.float32.is_floating_point, torch.complex64.is_complex, torch.int8.is_signed, str(torch.bool)
torch.float32 is torch.float, torch.float32 == torch.float64, {torch.float32: 1}[torch.float]
torch.float32.to_complex(), torch.complex64.to_real(), torch.int32.to_complex()
pickle.loads(pickle.dumps(torch.float32)) is torch.float32, copy.deepcopy(torch.int8) is torch.int8
torch.finfo(torch.float32), torch.finfo(torch.bfloat16), torch.finfo(torch.float16), torch.finfo(torch.float64), torch.iinfo(torch.int8), torch.iinfo(torch.int64)
torch.finfo().eps, torch.finfo(torch.float32).bits, torch.iinfo(torch.uint8).max
torch.finfo(torch.int8)
torch.iinfo(torch.float32)
torch.finfo(torch.float32) == torch.finfo(torch.float32)
torch.set_default_dtype(torch.int32)
torch.set_default_dtype("a")
exec("torch.set_default_dtype(torch.float64)\ntry:\n  r=(torch.tensor([1.]), torch.zeros(2).dtype, (torch.tensor([1])/2).dtype, torch.arange(0,1,0.5).dtype, torch.tensor([1j]).dtype, torch.get_default_dtype(), torch.Tensor(2).dtype)\nfinally:\n  torch.set_default_dtype(torch.float32)"); r
torch.can_cast(torch.float32, torch.int32), torch.can_cast(torch.int32, torch.float32), torch.can_cast(torch.bool, torch.uint8), torch.can_cast(torch.complex64, torch.float32)
torch.promote_types(torch.uint8, torch.int8), torch.promote_types(torch.half, torch.bfloat16)
torch.promote_types(torch.int32, int)
torch.is_tensor(3), torch.is_tensor(torch.zeros(1)), torch.is_floating_point(torch.zeros(1)), torch.is_complex(torch.zeros(1)), torch.is_nonzero(torch.tensor([1])), torch.is_storage(torch.zeros(1).untyped_storage())
torch.is_nonzero(torch.zeros(2))
x = torch.zeros(2); x.is_cuda, x.is_sparse, x.is_quantized, x.is_leaf, x.requires_grad, x.grad, x.grad_fn, x.layout, x.names, x.itemsize, x.nbytes, x.element_size(), x.get_device(), x.is_meta, x.is_cpu, x.is_shared(), x.is_pinned(), x.output_nr, x._version, x.is_inference(), x.is_conj(), x.is_neg(), x.retains_grad
x = torch.zeros(2); x.foo
x = torch.zeros(2); x.data = torch.ones(3); x
x = torch.zeros(2); x.data = 3
x = torch.zeros(2); x.data.add_(1); x
x = torch.zeros(2); x.data[0] = 3; x
x = torch.zeros(2); v = x._version; x.add_(1); x[0] = 1; x._version - v, x[1:]._version, x.detach()._version
torch.zeros(2,3).reshape(-1), torch.zeros(2,3).view(3,-1).shape, torch.zeros(6).view(2,-1).shape
torch.zeros(2,3).view(5)
torch.zeros(2,3).view(-1,-1)
torch.zeros(2,3).view(-2)
torch.zeros(2,3).t().view(6)
torch.zeros(2,3).reshape(4,-1)
torch.zeros(0,3).reshape(-1,0)
torch.zeros(2,3).expand(2,2,3).shape, torch.zeros(2,1).expand(-1,3).shape
torch.zeros(2,3).expand(4,3)
torch.zeros(2,3).transpose(0,2)
torch.zeros(2,3).permute(0,0)
torch.zeros(2,3).permute(0)
torch.zeros(2,3).squeeze(5)
torch.zeros(2,3,4).t()
torch.zeros(2).T.shape
torch.zeros(2,3).chunk(0)
torch.zeros(2,3).split(0)
torch.zeros(5).split([2,2])
torch.zeros(2,3).narrow(0,1,3)
torch.zeros(2,3).select(0,5)
torch.zeros(2,3).unfold(1,5,1)
torch.zeros(2,3).flatten(1,0)
torch.zeros(2,3).as_strided((3,3),(3,1))
torch.zeros(2,3).as_strided((2,),(-1,))
torch.zeros(2,3).diagonal(0,0,0)
torch.zeros(2,3).movedim(0,5)
torch.zeros(2,3).foo()
torch.zeros(2,3).sum(5)
torch.zeros(2).unsqueeze(3)
torch.zeros(2)[0].item()
x = torch.zeros(2,3); x.t_().shape
x = torch.zeros(2,3); x.transpose_(0,1).stride()
x = torch.zeros(1,3); x.squeeze_().shape
x = torch.zeros(3); x.unsqueeze_(0).shape
torch.zeros(2,3).dim_order(), torch.zeros(2,3).t().dim_order()
torch.zeros(2).is_set_to(torch.zeros(2)), torch.zeros(2).is_same_size(torch.zeros(2))
torch.equal(torch.zeros(2), torch.zeros(2)), torch.zeros(2).allclose(torch.zeros(2))
torch.tensor([1,2]).apply_(lambda v: v + 1)
torch.tensor([1,2]).map_(torch.tensor([3,4]), lambda a, b: a * b)
torch.zeros(2).storage().size(), list(torch.arange(2.).storage())
torch.typename(torch.zeros(2)), torch.typename(3), torch.zeros(2).type()
torch.zeros(2).share_memory_().shape
list(reversed(torch.tensor([1,2,3])))
torch.tensor([3,1]).tolist() == [3,1], sorted(torch.tensor([3,1]))
max(torch.tensor([3,1])), sum(torch.tensor([3,1])), min(torch.tensor([[3,1]]))
a, b = torch.tensor([1,2]); a, b
torch.tensor([1.,2.]).unbind(), torch.tensor([[1,2]]).unbind(1)
dir(torch.zeros(1)).__class__
torch.broadcast_shapes((2,1),(3,)), torch.broadcast_tensors(torch.zeros(2,1), torch.zeros(3))[0].shape
torch.Tensor.add(torch.ones(2), 1), torch.Tensor.__add__(torch.ones(2), 1)
issubclass(torch.nn.Parameter, torch.Tensor), type(torch.zeros(2)).__module__, type(torch.zeros(2)).__name__
torch.__version__[:4], torch.e, torch.pi, torch.inf, torch.nan, torch.newaxis
torch.zeros(2).__array__().dtype, torch.zeros(2).__array__(np.float64).dtype
torch.empty(2, pin_memory=False).is_pinned()
torch.zeros(3).scatter_(0, torch.tensor([5]), 1.)
torch.gather(torch.zeros(3), 0, torch.tensor([5]))
torch.gather(torch.zeros(3), 0, torch.tensor([1.]))
torch.index_select(torch.zeros(3), 0, torch.tensor([1.]))
torch.index_select(torch.zeros(3), 0, torch.tensor([5]))
torch.zeros(3)[torch.tensor([float('nan')])]
torch.masked_select(torch.zeros(3), torch.tensor([1,0,1]))
torch.where(torch.tensor([1,0]), 1, 2)
torch.where(torch.tensor([True]), 1, 2.5)
torch.where(torch.tensor([1.,0]), 1, 2)
"""

MORE_BEHAVIOUR = r"""
x = torch.arange(6.).view(2,3); x.numpy().sum(), np.asarray(x).flags.writeable
t = torch.zeros(3); n = np.asarray(t); n[0] = 4; t
t = torch.zeros(3); n = np.array(t); n[0] = 4; t
torch.as_tensor(np.arange(3)[::-1].copy())
torch.tensor(3).expand(2,2)
torch.ones(3).expand(-1)
torch.ones(3).expand(-1, 3)
torch.arange(3).repeat(2,2)
torch.arange(3).repeat(0)
torch.arange(3).repeat(-1)
torch.arange(6).view(2,3).tile(2)
torch.arange(3).roll(1), torch.arange(3).flip(0)
torch.arange(3.).softmax(5)
torch.arange(3.).view(1,3).squeeze((0,1)).shape
torch.zeros(2,3).unflatten(1, (3,1)).shape
torch.zeros(2,3).unflatten(1, (2,2))
torch.zeros(2,3).ravel().shape, torch.zeros(2,3).flatten(0).shape, torch.zeros(()).flatten().shape
torch.zeros(2,3).swapaxes(0,1).shape, torch.zeros(2,3,4).moveaxis(0,-1).shape
torch.zeros(2,3).view_as(torch.zeros(6)), torch.zeros(2,3).reshape_as(torch.zeros(3,2)).shape, torch.zeros(2,1).expand_as(torch.zeros(2,4)).shape
torch.zeros(2,3).new_zeros((1,)).dtype, torch.zeros(2).new_empty((2,2), dtype=torch.int8).dtype
torch.zeros_like([1,2])
torch.ones_like(torch.zeros(2), dtype=torch.int64), torch.full_like(torch.zeros(2), 3), torch.rand_like(torch.zeros(2)).shape
torch.empty_like(torch.zeros(2), device="cuda")
torch.rand_like(torch.zeros(2, dtype=torch.int64))
torch.randint(0, 5, (3,)).dtype, torch.randperm(4).dtype
torch.randint(5, 0, (3,))
torch.normal(0., 1., (2,)).shape, torch.normal(torch.zeros(2), 1.).shape, torch.normal(0., -1., (2,))
torch.rand(2, 3, requires_grad=True).requires_grad
torch.rand(-2)
torch.randn("a")
torch.zeros(3).add("a")
torch.zeros(3).sum(0, 1, 2, 3)
torch.zeros(3).mm(torch.zeros(3))
torch.zeros(2,3).mm(torch.zeros(2,3))
torch.zeros(2,3) @ torch.zeros(2)
torch.zeros(2,3).mv(torch.zeros(2))
torch.zeros(2).dot(torch.zeros(3))
torch.cat([])
torch.cat([torch.zeros(2), 3])
torch.cat([torch.zeros(2), torch.zeros(2,2)])
torch.cat([torch.zeros(2,3), torch.zeros(2,2)])
torch.stack([torch.zeros(2), torch.zeros(3)])
torch.cat(torch.zeros(2))
torch.stack([])
torch.zeros(3).max(5)
torch.zeros(0).max()
torch.zeros(0).argmax()
torch.zeros(0).sum(), torch.zeros(0).mean(), torch.zeros(0).prod()
torch.zeros(2,0).max(1)
torch.tensor([1,2]).mean()
torch.tensor([1,2]).softmax(0)
torch.tensor([1,2]).exp(), torch.tensor([1,2]).sqrt().dtype
torch.tensor([1,2]).log_()
torch.tensor([True]).sum(), torch.tensor([True,False]).cumsum(0), torch.tensor([1], dtype=torch.uint8).sum().dtype
torch.zeros(2).where(torch.tensor([True,False]), 5.)
torch.masked_fill(torch.zeros(2), torch.tensor([True,False]), 3)
torch.zeros(2).masked_fill(torch.tensor([1,0]), 3)
torch.zeros(2).clamp()
torch.zeros(2).topk(3)
torch.zeros(2).sort(1)
torch.zeros(2).cumsum(1)
torch.zeros(2).gather(0, torch.tensor([[0]]))
torch.zeros(2,2).index_select(0, torch.tensor([[0]]))
torch.zeros(2).scatter(0, torch.tensor([0]), torch.tensor([1]))
torch.einsum("ij,jk", torch.ones(2,3), torch.ones(2,3))
torch.einsum("ij->k", torch.ones(2,3))
torch.ones(2,3).tril(), torch.ones(3).tril()
torch.ones(2).tril_indices
torch.zeros(3).bernoulli_(2.)
torch.zeros(3).uniform_(1, 0)
torch.zeros(3).normal_(0, -1)
torch.zeros(2,3).inverse()
torch.allclose(torch.zeros(2), torch.zeros(2).double())
torch.equal(torch.zeros(2), torch.zeros(3)), torch.equal(torch.zeros(2), torch.zeros(2).double())
torch.isclose(torch.tensor([1.]), torch.tensor([float('nan')])), torch.isnan(torch.tensor([1, 2]))
torch.tensor([1.5]).bitwise_and(torch.tensor([1.5]))
torch.tensor([5]).div(torch.tensor([2]), rounding_mode="floor"), torch.tensor([-5]).div(2, rounding_mode="trunc")
torch.tensor([5]).div(2, rounding_mode="up")
torch.tensor([5.]) // 0, torch.tensor([5.]) % 0, torch.tensor([5.]) / 0
torch.tensor([2]) ** -1
torch.tensor([2]) ** torch.tensor([-1])
torch.tensor([0.]) ** -1, torch.tensor([-1.]) ** 0.5
torch.tensor([200], dtype=torch.uint8) + 100
torch.tensor([1, 2]).__rsub__(5), torch.tensor([4.]).__rdiv__(2)
torch.tensor([1]).is_floating_point(), torch.tensor(1.).is_complex(), torch.tensor(1).is_signed()
torch.tensor([1.0]).nan_to_num(), torch.tensor([1,2,3]).float().std(), torch.tensor([1.]).std()
torch.vander(torch.tensor([1,2,3])), torch.cartesian_prod(torch.tensor([1,2]), torch.tensor([3,4]))
torch.block_diag(torch.ones(1,1), torch.ones(2,2))
torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")
torch.unique(torch.tensor([3,1,1])), torch.unique(torch.tensor([3,1,1]), return_counts=True)
torch.bincount(torch.tensor([0,1,1])), torch.histc(torch.tensor([1.,2.,1.]), bins=2)
torch.split(torch.arange(5), 2), torch.chunk(torch.arange(5), 2), torch.tensor_split(torch.arange(5), 3)
torch.zeros(2).tensor_split(0)
torch.zeros(2, 2).trace(), torch.zeros(2).trace()
x = torch.zeros(2, 2); x.fill_diagonal_(1)
x = torch.zeros(2); x.foo = 3; x.foo, hasattr(x, "bar")
x = torch.ones(3); x.requires_grad_(); x.new_tensor([1.]).requires_grad, x.new_ones(2, requires_grad=True).requires_grad
x = torch.ones(2, requires_grad=True); x.tolist(), x.sum().item(), float(x[0]), bool(x[0])
x = torch.ones(2, requires_grad=True); y = x.clone().detach().requires_grad_(True); y.is_leaf, y is x
x = torch.ones(2, requires_grad=True); torch.tensor(x)
x = torch.ones(2, requires_grad=True); torch.as_tensor(x) is x
x = torch.ones(2, requires_grad=True); np.asarray(x)
x = torch.ones(2, requires_grad=True); x.numpy()
x = torch.ones(2, requires_grad=True); x.detach().numpy(), x.data.numpy()
x = torch.ones(2, requires_grad=True); list(x), [v.item() for v in x]
x = torch.ones(2, requires_grad=True); x == 1, (x > 0).requires_grad, x.bool().requires_grad
x = torch.ones(2, requires_grad=True); y = x.to(torch.float64); y.requires_grad, y.is_leaf, x.to(torch.float32) is x
x = torch.zeros(2, 2, requires_grad=True); pickle.loads(pickle.dumps(x)).requires_grad, pickle.loads(pickle.dumps(x.t())).stride()
type(torch.zeros(1)), torch.Tensor, torch.Size, torch.dtype, torch.device
isinstance(torch.zeros(1), torch.Tensor), type(torch.zeros(1).shape), type(torch.zeros(1).dtype)
torch.zeros(1).__class__.__name__, torch.zeros(1).__module__ if hasattr(torch.zeros(1), '__module__') else None
x = torch.zeros(2,3); x.unsqueeze(-1).shape, x.unsqueeze(0).shape, x.unsqueeze(5)
x = torch.arange(4.); x.resize_(2,2), x.resize_as_(torch.zeros(1,4)).shape
x = torch.arange(4.); y = x.view(2,2); y.resize_(1,2); y, x
x = torch.arange(4.); x.data = x.data.view(2,2); x.shape
x = torch.arange(4); x.type(torch.float), x.type('torch.DoubleTensor').dtype, x.type_as(torch.zeros(1, dtype=torch.half)).dtype
x = torch.arange(8).view(2,2,2); x.select(1,0), x.narrow(2,0,1), x.unfold(2,2,1), x.diagonal(0,1,2), x.movedim(0,2), x.permute(-1,0,1)
x = torch.arange(4); x.put_(torch.tensor([0,1]), torch.tensor([9,8])), x.take(torch.tensor([0,3]))
x = torch.zeros(3); x.index_fill_(0, torch.tensor([0,2]), 5), x.index_copy_(0, torch.tensor([1]), torch.tensor([3.])), x.index_add_(0, torch.tensor([0,0]), torch.tensor([1.,1.]))
x = torch.zeros(2,3); x.masked_scatter_(torch.tensor([[True,False,True],[False,True,False]]), torch.arange(5.))
x = torch.zeros(3); x.scatter_add_(0, torch.tensor([0,0,1]), torch.ones(3)), x.scatter_(0, torch.tensor([2]), 9.)
torch.scalar_tensor(3.5), torch.zeros(()).item()
torch.from_numpy(np.arange(3, dtype=np.int32)).dtype, torch.from_numpy(np.array([True])).dtype, torch.from_numpy(np.zeros(1, np.complex64)).dtype, torch.from_numpy(np.zeros(1, np.float16)).dtype
torch.from_numpy(np.zeros(1, np.datetime64))
torch.from_numpy(np.zeros(2, dtype=[("a", np.int32)]))
torch.tensor(np.datetime64("2020-01-01"))
torch.tensor([1, 2.5, True, 3j]), torch.tensor([[True], [2]]), torch.tensor([np.float32(1), 2])
torch.tensor(float("inf")), torch.tensor([float("-inf"), float("nan")]), torch.tensor(-0.0)
torch.tensor([[1, 2], [3, 4]], dtype=torch.complex64), torch.tensor(3, dtype=torch.bool)
torch.tensor(((1, 2), [3, 4])), torch.tensor([range(2), range(2)]), torch.tensor([torch.tensor(1.5), 2])
torch.tensor([np.float32(1), 2]), torch.tensor([2, np.float64(1)]), torch.tensor([np.int8(1), np.int8(2)]), torch.tensor([True, np.int8(2)]), torch.tensor([1.5, np.float64(1)]), torch.tensor([np.float16(1), 1.5])
torch.tensor([np.bool_(True), False]), torch.tensor([np.complex64(1), 2.])
torch.cat([])
torch.cat(torch.zeros(2))
torch.vstack([]), torch.hstack([])
torch.stack(torch.zeros(2,3))
torch.cat(iter([torch.zeros(2)]))
torch.hstack(torch.zeros(2,2))
torch.cat(torch.zeros(2,3).unbind()), torch.stack((torch.zeros(1),))
torch.cat({"a": torch.zeros(2)}.values())
"""


@pytest.mark.parametrize("program", CREATION_AND_ATTRIBUTES.strip().splitlines())
def test_creation_and_attributes(agree, program):
    agree(program)


@pytest.mark.parametrize("program", BEHAVIOUR.strip().splitlines())
def test_behaviour(agree, program):
    agree(program)


@pytest.mark.parametrize("program", MORE_BEHAVIOUR.strip().splitlines())
def test_more_behaviour(agree, program):
    agree(program)


DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex32",
    "complex64",
    "complex128",
]


@pytest.mark.parametrize("a", DTYPES)
def test_promotion(agree, a):
    """Between all pairs of dtypes, with and without dims, and with Python numbers, in results and in writes."""
    for b in DTYPES:
        agree(f"torch.promote_types(torch.{a}, torch.{b}), torch.can_cast(torch.{a}, torch.{b})")
        for left, right in (("[1]", "[1]"), ("[1]", "1"), ("1", "[1]"), ("1", "1")):
            x, y = f"torch.tensor({left}, dtype=torch.{a})", f"torch.tensor({right}, dtype=torch.{b})"
            agree(f"({x} + {y}).dtype, ({x} * {y}).dtype, ({x} == {y}).dtype, torch.result_type({x}, {y})")
            agree(f"({x} / {y}).dtype")
            agree(f"torch.where(torch.tensor([True]), {x}, {y}).dtype, torch.cat([{x}.view(1), {y}.view(1)]).dtype")
            agree(f"x = {x}; x += {y}; x.dtype")
    agree(f"(torch.tensor([1], dtype=torch.{a}) + 1j).dtype, (1j * torch.tensor(1, dtype=torch.{a})).dtype")
    for number in ("True", "2", "2.5"):
        agree(f"(torch.tensor([1], dtype=torch.{a}) * {number}).dtype, ({number} + torch.tensor(1, dtype=torch.{a})).dtype")
        agree(f"x = torch.tensor([1], dtype=torch.{a}); x += {number}; x")
