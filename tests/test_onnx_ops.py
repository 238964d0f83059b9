"""What ``torch.onnx.export`` writes for PyTorch's operators, run by onnxruntime where it is installed, else by ONNX's reference.

A file is made of one pair of arguments and run on another, so that nothing of the first may be part of it.
"""

import functools

import numpy as np
import pytest

import flambeau as torch

onnx = pytest.importorskip("onnx")

from flambeau.onnx.translations import TRANSLATIONS  # noqa: E402

nn, F = torch.nn, torch.nn.functional

OPERATORS = """
torch.topk(x,3)
torch.sort(x,-1)
x.cumsum(1)
torch.gather(x,1,i)
x.var(1)
x.std(1,keepdim=True)
torch.einsum("ij,kj->ik",x,x)
x.softmax(-1).log()
F.one_hot(i,7)
x.masked_fill(x>0,0.)
torch.where(x>0,x,-x)
x.flip(1)
x.roll(1,0)
torch.tril(x@x.T)
F.pad(x,(1,2))
F.pad(x[None],(1,2),mode="reflect")
x.unfold(1,2,1)
x.clamp(-.5,.5)
torch.logsumexp(x,1)
x.norm(dim=1)
x.prod(1)
x.median(1)
x.int()//2
x.round()
torch.atan2(x,x+1)
x.erf()
x.bool()
x.to(torch.float64).sum()
x.half()
torch.arange(x.shape[0])+x.shape[1]
torch.zeros_like(x)
torch.eye(3)
x.index_select(0,torch.tensor([1,0]))
x.scatter(1,i,1.0)
x.scatter_add(1,i,x)
F.normalize(x)
x[:,i[0]]
x[i[:,0]%2]
torch.argmax(x)
x.amin(0)
x.max(1)
torch.kthvalue(x,2)
F.cross_entropy(x,i[:,0])
F.avg_pool1d(x[None],2)
F.adaptive_avg_pool2d(x[None,None],(2,3))
F.max_pool1d(x[None],2,return_indices=True)
torch.triu_indices(3,3)
x.repeat(2,3)
torch.stack([x,x],1)
x.unbind(0)
torch.bucketize(x,torch.tensor([-1.,0.,1.]))
torch.searchsorted(torch.tensor([-1.,0.,1.]),x)
x.pow(2)
x%2
torch.isnan(x)
x.quantile(.5)
F.grid_sample(x[None,None],torch.zeros(1,3,3,2))
F.embedding_bag(i,x.T.contiguous())
torch.linalg.norm(x)
F.layer_norm(x,(7,))
F.instance_norm(x[None])
F.local_response_norm(x[None],2)
F.pixel_shuffle(torch.cat([x[None,:,:,None]]*2,1),2)
F.unfold(x[None,None],2)
F.fold(x[None].repeat(1,2,1)[:,:4,:6],(3,4),2)
F.glu(x[:,:6])
torch.bmm(x[None],x.T[None])
x.nan_to_num()
i.float().mean()
i.sum()
i.bitwise_and(3)
x.sort().values.diff()
F.interpolate(x[None,None],scale_factor=2)
F.interpolate(x[None,None],size=(5,9),mode="bicubic")
torch.vmap(lambda v:v.sum())(x)
torch.relu_(x.clone())
x.relu_()
(x,x)
i+0.5
torch.tensor(3.0)
F.hardswish(x)
F.mish(x)
F.selu(x)
F.elu(x)
F.celu(x)
F.softplus(x)
F.softsign(x)
F.hardtanh(x)
F.hardsigmoid(x)
F.leaky_relu(x)
F.prelu(x,torch.tensor([.2]))
F.rrelu(x)
F.logsigmoid(x)
F.gelu(x,approximate="tanh")
F.threshold(x,.1,2.)
F.relu6(x)
F.silu(x)
F.softmin(x,1)
F.log_softmax(x,1)
torch.sin(x)+torch.cos(x)+torch.tan(x)+torch.asin(x/9)+torch.acos(x/9)+torch.atan(x)
torch.sinh(x)+torch.cosh(x)+torch.asinh(x)+torch.atanh(x/9)+torch.acosh(x.abs()+1)
torch.exp(x)+torch.expm1(x)+torch.log1p(x.abs())+torch.log2(x.abs())+torch.log10(x.abs())+torch.exp2(x)
torch.rsqrt(x.abs())+x.sqrt().nan_to_num()+x.reciprocal()+x.sign()+x.floor()+x.ceil()+x.trunc()+x.frac()
x.remainder(.7)
x.fmod(.7)
torch.div(x,.7,rounding_mode="floor")
torch.div(x,.7,rounding_mode="trunc")
i//2
i%3
(i-3)//2
(i-3)%2
torch.fmod(i-3,2)
torch.maximum(x,-x)
torch.minimum(x,x*2)
torch.logical_and(x>0,x<1)
torch.logical_not(x>0)
torch.logical_xor(x>0,x<1)
(x>0)&(x<1)
~(x>0)
i<<1
i>>1
i^1
x==x
x!=x
x.isinf()
x.isfinite()
x.lerp(-x,.3)
torch.addcmul(x,x,x,value=.5)
torch.addcdiv(x,x,x.abs()+1)
torch.addmm(x[:,:2],x,x.T,beta=.5,alpha=2)
torch.baddbmm(x[None,:,:2],x[None],x.T[None])
torch.matmul(x,x[0])
torch.matmul(x[0],x.T)
torch.dot(x[0],x[1])
torch.outer(x[0],x[1])
torch.tensordot(x,x,([1],[1]))
torch.kron(x,x)
x.mean(0)
x.mean()
x.sum((0,1),keepdim=True)
x.all()
(x>0).any(1)
x.argmin(1,keepdim=True)
x.max()
x.min(0)
x.aminmax()
torch.max(x,-x)
x.logcumsumexp(1)
x.norm(p=1,dim=1)
x.norm(p=float("inf"))
torch.linalg.vector_norm(x,3,dim=1)
F.cosine_similarity(x[:1],x[1:])
F.pairwise_distance(x[:1],x[1:])
F.mse_loss(x,-x)
F.l1_loss(x,-x)
F.smooth_l1_loss(x,-x)
F.binary_cross_entropy_with_logits(x,(x>0).float())
F.nll_loss(x.log_softmax(1),i[:,0])
F.kl_div(x.log_softmax(1),x.softmax(1))
x.expand(3,2,7)
x.expand_as(torch.zeros(3,2,7))
x.transpose(0,1).contiguous()
x[None].permute(2,0,1)
x.reshape(-1)
x.view(7,2)
x.flatten()
x[None].squeeze(0)
x.unsqueeze(-1)
x.unflatten(1,(7,1))
x.split(3,1)
x.chunk(3,1)
x.tensor_split(3,1)
x.narrow(1,2,3)
x.select(1,3)
x[:,1::2]
x[...,-1]
x[:,-3:-1]
x[0,1]
x[torch.tensor([0,1]),torch.tensor([2,3])]
x[:,torch.tensor([2,3])]
x[torch.tensor([[0],[1]]),torch.tensor([2,3])]
x.take(torch.tensor([1,2]))
x.take_along_dim(i,1)
torch.index_add(x,1,torch.tensor([0,1]),x[:,:2])
x.index_copy(1,torch.tensor([0,1]),x[:,2:4])
x.index_fill(1,torch.tensor([0,1]),2.)
x.index_put((torch.tensor([0,1]),torch.tensor([2,2])),torch.tensor([1.,2.]))
x.index_put((torch.tensor([0,0]),torch.tensor([2,2])),torch.tensor([1.,2.]),accumulate=True)
x.scatter(1,i,x[:,:3],reduce="add")
x.scatter_reduce(1,i,x[:,:3],"amax")
x.diagonal()
x[:,:2].trace()
x.triu(1)
torch.cat([x,x],-1)
torch.hstack([x,x])
torch.vstack([x,x])
torch.meshgrid(x[0],x[1],indexing="ij")
torch.cartesian_prod(x[0],x[1])
torch.rot90(x)
x.repeat_interleave(2,1)
x.repeat_interleave(torch.tensor([1,2]),0)
torch.tile(x,(2,2))
x.movedim(0,1)
F.pad(x,(1,1),value=3.)
F.pad(x[None],(2,2),mode="replicate")
F.pad(x[None],(2,2),mode="circular")
F.pad(x,(-1,2))
F.conv1d(x[None],torch.ones(3,2,3),padding=1)
F.conv1d(x[None],torch.ones(3,2,3),padding="same",dilation=2)
F.conv1d(x[None],torch.ones(2,1,3),groups=2,stride=2)
F.conv2d(x[None,None],torch.ones(3,1,2,2),torch.ones(3))
F.conv3d(x[None,None,None],torch.ones(3,1,1,2,2))
F.conv_transpose1d(x[None],torch.ones(2,3,3),stride=2,padding=1,output_padding=1)
F.conv_transpose2d(x[None,None],torch.ones(1,3,2,2),groups=1,dilation=2)
F.max_pool2d(x[None,None],2,ceil_mode=True)
F.max_pool2d(x[None,None],(1,3),stride=2,padding=(0,1),dilation=1)
F.avg_pool2d(x[None,None],2,ceil_mode=True,count_include_pad=False)
F.avg_pool2d(x[None,None],2,padding=1,count_include_pad=True)
F.avg_pool2d(x[None,None],2,divisor_override=3)
F.lp_pool1d(x[None],2,2)
F.adaptive_avg_pool1d(x[None],1)
F.adaptive_avg_pool1d(x[None],3)
F.adaptive_max_pool1d(x[None],1)
F.batch_norm(x,torch.zeros(7),torch.ones(7))
F.group_norm(x[...,None],7)
F.rms_norm(x,(7,))
F.interpolate(x[None],scale_factor=2.)
F.interpolate(x[None],size=9,mode="linear")
F.interpolate(x[None,None],size=(3,9),mode="bilinear",align_corners=True)
F.interpolate(x[None,None],size=(3,9),mode="nearest-exact")
F.interpolate(x[None,None],scale_factor=(2,1.5),mode="bilinear")
F.interpolate(x[None,None],size=(1,3),mode="area")
F.affine_grid(torch.eye(2,3)[None],(1,1,2,3))
F.pixel_unshuffle(x[None,None,:,:6],2)
F.channel_shuffle(x[None,:,:,None],2)
F.scaled_dot_product_attention(x[None],x[None],x[None])
F.scaled_dot_product_attention(x[None],x[None],x[None],is_causal=True)
F.scaled_dot_product_attention(x[None],x[None],x[None],attn_mask=torch.tensor([[True,False],[True,True]]))
F.multi_head_attention_forward(x[:,None,:6],x[:,None,:6],x[:,None,:6],6,2,torch.ones(18,6)*.1,None,None,None,False,0.,torch.eye(6),None)[0]
F.embedding(i,x.T)
F.embedding(i,x.T,padding_idx=0)
F.linear(x,x)
F.bilinear(x,x,torch.ones(2,7,7))
torch.arange(5)
torch.linspace(0,1,5)
torch.full((2,3),1.5)
torch.full_like(x,2)
torch.ones(2,dtype=torch.int64)
x.new_zeros(3)
x.type(torch.int32)
x.double()
x.to(torch.uint8)
i.to(torch.int8)
x.type_as(i)
x.clamp(min=0)
x.clamp(max=torch.tensor(.2))
i.clamp(1,4)
x.abs().pow(.5)
2**x
x**x.abs()
torch.pow(2,i)
i.float()/2
i/2
i*0.5
i+True
x-1
1-x
1/x
x.square()
x.heaviside(torch.tensor(.5))
torch.special.erfc(x)
torch.sigmoid(x)
torch.logit(x.sigmoid())
torch.xlogy(x.abs(),x.abs())
torch.hypot(x,x)
torch.logaddexp(x,x)
torch.nansum(x)
torch.nanmean(x)
torch.var_mean(x,1)
torch.std(x,(0,1),unbiased=False)
torch.count_nonzero(x>0,1)
torch.cumsum(i,1)
torch.diff(x)
torch.gradient(x,dim=1)[0]
torch.trapz(x)
torch.cross(x[:,:3],x[:,3:6],dim=1)
torch.isclose(x,x)
torch.sort(x,1,descending=True)
x.argsort(1)
torch.msort(x)
torch.where(x>0,1.,0.)
torch.where(x>0,x,torch.tensor(2.))
torch.nn.utils.rnn.pad_sequence([x[0],x[1,:3]])
F.dropout(x,.5,False)
torch.tril_indices(3,3)
torch.scatter(x,0,i%2,x)
torch.block_diag(x,x)
x.unfold(0,2,1)
torch.broadcast_to(x,(3,2,7))
torch.atleast_3d(x)
torch.swapaxes(x,0,1)
x.mT
x.H
torch.clone(x)
x.detach()
x.contiguous()
torch.stack([x.sum(),x.mean()])
x.sum().reshape(1)
torch.renorm(x,2,0,1.)
x.logsumexp((0,1))
torch.linalg.matrix_norm(x)
torch.chain_matmul(x,x.T,x)
torch.cov(x)
torch.corrcoef(x)
""".strip().split("\n")
"""Of ``x``, two rows of seven numbers, and ``i``, two rows of three of their places."""


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def arguments(seed):
    torch.manual_seed(seed)
    return torch.randn(2, 7), torch.randint(0, 7, (2, 3))


def same(program, module, args):
    onnx.checker.check_model(program.model_proto, full_check=True)
    found, wanted = program(*args), torch.utils._pytree.tree_leaves(module(*[x.clone() for x in args]))
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=2e-5)


WITH_ONNXRUNTIME = ("x.quantile(.5)", "F.grid_sample(x[None,None],torch.zeros(1,3,3,2))", "F.pad(x,(-1,2))")
"""What ONNX's reference cannot run: broadcast ranks, a mode by its old name, elements cut off by padding."""


@pytest.mark.parametrize("text", OPERATORS)
@pytest.mark.filterwarnings("ignore")
def test_operators(text):
    if text in WITH_ONNXRUNTIME:
        pytest.importorskip("onnxruntime")
    module = Calls(eval(f"lambda x, i: {text}", {"torch": torch, "F": F})).eval()
    same(torch.onnx.export(module, arguments(0)), module, arguments(1))


def test_there_are_many():
    assert len(TRANSLATIONS) > 250


class Positions(nn.Module):
    """Takes sizes for numbers, ranges, masks and shapes."""

    def __init__(self):
        super().__init__()
        self.words, self.places, self.heads = nn.Embedding(40, 8), nn.Embedding(64, 8), nn.Linear(8, 24)

    def forward(self, ids, mask):
        rows, steps = ids.shape
        x = self.words(ids) + self.places(torch.arange(steps)[None])
        q, k, v = [y.view(rows, steps, 2, 4).transpose(1, 2) for y in self.heads(x).chunk(3, -1)]
        causal = torch.ones(steps, steps).tril().bool()
        scores = (q @ k.transpose(-1, -2)).masked_fill(~causal, -1e9).masked_fill(mask[:, None, None] == 0, -1e9)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(rows, steps, 8), attended, x * steps, x[:, : steps - 1].flatten()


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second, self.relu = (
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 1),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        y = self.relu(self.norm(self.first(x)))
        z = self.second(y)
        z += y
        return F.interpolate(self.relu(z), scale_factor=2).mean((2, 3)), z.detach()


def shapes(x):
    """Whose sizes are sums and products of the argument's."""
    last = x[:, x.shape[1] - 1]
    wide = torch.cat([x, torch.zeros(x.shape[0], 1)], 1)
    ranges = torch.arange(1, x.shape[1]), torch.arange(0, x.shape[0] + 4, 2, dtype=torch.float32), torch.arange(end=x.shape[1])
    return (
        *ranges,
        last,
        wide,
        x[:, :-1],
        x.repeat(1, 2),
        x.expand(2, *x.shape),
        x.new_ones(x.shape),
        x.var(1),
        x.sort(1)[0],
        x.reshape(-1),
        F.pad(x, (0, 3)),
        x.flip(1),
    )


FREE = {
    "positions": (
        Positions,
        lambda b, t: (torch.randint(0, 40, (b, t)), (torch.arange(t) < t - 1).expand(b, t).float()),
        {0: "b", 1: "t"},
    ),
    "residual": (Residual, lambda b, t: (torch.randn(b, 3, t, t),), {0: "b", 2: "t", 3: "t"}),
    "shapes": (lambda: Calls(shapes), lambda b, t: (torch.randn(b, t),), {0: "b", 1: "t"}),
    "attention": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        lambda b, t: (torch.randn(b, t, 8),),
        {0: "b", 1: "t"},
    ),
    "lstm": (lambda: nn.LSTM(6, 4, bidirectional=True), lambda b, t: (torch.randn(5, b, 6),), {1: "b"}),
}


@pytest.mark.parametrize("name", FREE)
def test_free_sizes(name):
    make, arguments_of, dims = FREE[name]
    torch.manual_seed(0)
    module, args = make().eval(), arguments_of(2, 5)
    names = ["x", "y"][: len(args)]
    program = torch.onnx.export(module, args, input_names=names, dynamic_axes=dict.fromkeys(names, dims), verify=True)
    for sizes in ((2, 5), (3, 8), (1, 4)):
        same(program, module, arguments_of(*sizes))


REFUSED = {
    "branch": (lambda x: x if x.sum() > 0 else -x, {}, "looks at values that depend on its argument 'args_0'"),
    "number": (lambda x: x * x.sum().item(), {}, "looks at values"),
    "count": (lambda x: x[x > 0], {}, "looks at values"),
    "random": (lambda x: x + torch.rand(6), {}, "draws random numbers"),
    "assignment": (
        lambda x: functools.reduce(lambda y, k: y.__setitem__((0, k), 1.0) or y, range(2), x + 1),
        {},
        "written in place",
    ),
    "half": (lambda x: x[:, : x.shape[1] // 2], {1: "t"}, "a number of the module"),
    "quotient": (lambda x: x / x.shape[1] ** 0.5, {1: "t"}, "a number of the module"),
    "steps": (lambda x: sum(x[:, k] for k in range(x.shape[1])), {1: "t"}, "calls other operators"),
    "sizes": (lambda x: x + torch.eye(x.shape[0], 6), {0: "b"}, "constant depends on the size"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    function, dims, reason = REFUSED[name]
    x = torch.ones(2, 6)
    with pytest.raises(torch.onnx.OnnxExporterError, match=reason):
        torch.onnx.export(Calls(function), (x,), input_names=["x"], dynamic_axes={"x": dims})
    assert (x + 1).sum() == 24


def test_names_of_one_memory_are_one_value():
    module = Calls(lambda x: (x.detach() + 1, x.relu_(), x * 2))
    same(torch.onnx.export(module, (torch.ones(2, 7),)), module, arguments(1)[:1])


def test_a_file_that_computes_something_else_is_found(monkeypatch):
    monkeypatch.setitem(TRANSLATIONS, "relu", lambda w, x: w.op("Neg", x))
    torch.onnx.export(Calls(torch.relu), (torch.ones(3),))
    with pytest.raises(torch.onnx.OnnxExporterError, match="is not the module's"):
        torch.onnx.export(Calls(torch.relu), (torch.ones(3),), verify=True)
