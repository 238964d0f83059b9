"""What random programs say about layers: expressions on 3- and 4-dimensional inputs, losses, indices, networks to train.

Every function gets the generator and returns an expression, or ``None`` where no tensor fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.programs import Generator


def _weights(g: Generator, shape: tuple[int, ...], dtype, grad: bool = True) -> str:
    g.numbers += 1
    wanted = ".requires_grad_()" if grad and dtype.is_floating_point and g.random.random() < 0.4 else ""
    return f"weights({g.numbers}, {shape}, {dtype}){wanted}"


def convolution(g: Generator) -> str | None:
    """Convolutions of one and two dims, forwards and transposed, with all of their settings."""
    x = g.tensor(lambda t: t.is_floating_point() and t.dim() in (3, 4) and t.shape[1] and t.numel())
    t = g.names[x]
    if not (t.is_floating_point() and t.dim() in (3, 4) and t.numel()):
        return None
    flat = t.dim() - 2
    channels, dtype = t.shape[1], t.dtype
    groups = g.random.choice([1, 1, channels])
    size = tuple(g.random.choice([1, 1, 2, 3]) for _ in range(flat))
    settings = "".join(
        f", {name}={g.random.choice(values)}"
        for name, values in (("stride", [2, 3]), ("padding", [1, 1, 2]), ("dilation", [2]))
        if g.random.random() < 0.4
    )
    if groups > 1:
        settings += f", groups={groups}"
    out = 2 * groups
    bias = _weights(g, (out,), dtype) if g.random.random() < 0.5 else "None"
    if g.random.random() < 0.3:
        w = _weights(g, (channels, out // groups, *size), dtype)
        return f"F.conv_transpose{flat}d({x}, {w}, {bias}{settings})"
    call = f"F.conv{flat}d({x}, {_weights(g, (out, channels // groups, *size), dtype)}, {bias}{settings})"
    return g.random.choice([call, call, f"{call}.relu()", f"torch.tanh({call})", f"({call} + 1).sigmoid()"])


def pooling(g: Generator) -> str | None:
    x = g.tensor(lambda t: t.is_floating_point() and t.dim() in (3, 4))
    t = g.names[x]
    if not (t.is_floating_point() and t.dim() in (3, 4)):
        return None
    flat = t.dim() - 2
    return f"F.{g.random.choice(_POOLS)}".format(n=f"{flat}d", x=x)


_POOLS = [
    "max_pool{n}({x}, 2)", "max_pool{n}({x}, 2, stride=1)", "max_pool{n}({x}, 3, padding=1)", "max_pool{n}({x}, 2, ceil_mode=True)",
    "max_pool{n}({x}, 2, stride=1, dilation=2)", "max_pool{n}({x}, 1, return_indices=True)[1]",
    "avg_pool{n}({x}, 2)", "avg_pool{n}({x}, 3, stride=2, padding=1)", "avg_pool{n}({x}, 3, padding=1, count_include_pad=False)",
    "avg_pool{n}({x}, 2, ceil_mode=True)", "adaptive_avg_pool{n}({x}, 2)", "adaptive_max_pool{n}({x}, 2)", "lp_pool{n}({x}, 2, 2)",
]  # fmt: skip


def norm(g: Generator) -> str | None:
    """Normalisation with weights, and with running statistics, which are written to."""
    x = g.tensor(lambda t: t.is_floating_point() and t.dim() >= 2 and t.numel())
    t = g.names[x]
    if not (t.is_floating_point() and t.dim() >= 2 and t.numel()):
        return None
    channels, last, dtype = t.shape[1], t.shape[-1], t.dtype
    w, b = _weights(g, (channels,), dtype), _weights(g, (channels,), dtype)
    v, c = _weights(g, (last,), dtype), _weights(g, (last,), dtype)
    running = g.tensor(lambda r: tuple(r.shape) == (channels,) and r.dtype is dtype and not r.requires_grad)
    return g.random.choice([
        f"F.layer_norm({x}, ({last},), {v}, {c})", f"F.layer_norm({x}, {tuple(t.shape[1:])})", f"F.rms_norm({x}, ({last},), {v})",
        f"F.batch_norm({x}, None, None, {w}, {b}, training=True)", f"F.batch_norm({x}, {running}, torch.ones({channels}, dtype={dtype}), {w})",
        f"F.batch_norm({x}, {running}, torch.ones({channels}, dtype={dtype}), {w}, {b}, training=True)",
        f"F.group_norm({x}, {g.random.choice([1, channels])}, {w}, {b})", f"F.local_response_norm({x}, 2)",
        f"F.layer_norm({x} + {x}.mean(), ({last},), {v})", f"F.normalize({x}, dim=1)",
    ])  # fmt: skip


def attention(g: Generator) -> str | None:
    x = g.tensor(lambda t: t.is_floating_point() and t.dim() in (3, 4) and t.numel())
    t = g.names[x]
    if not (t.is_floating_point() and t.dim() >= 3 and t.numel()):
        return None
    k = g.tensor(lambda u: u.shape == t.shape and u.dtype is t.dtype)
    n = t.shape[-2]
    return g.random.choice([
        f"F.scaled_dot_product_attention({x}, {k}, {x}, is_causal=True)",
        f"F.scaled_dot_product_attention({x}, {k}, {x}, attn_mask=torch.ones({n}, {n}, dtype=torch.bool).tril())",
        f"(({x} @ {k}.mT) * 0.5).masked_fill(torch.ones({n}, {n}).triu(1) > 0, float('-inf')).softmax(-1) @ {x}",
        f"torch.softmax({x} @ {k}.mT + 1, -1) @ {k}",
    ])  # fmt: skip


def loss(g: Generator) -> str:
    a = g.floating()
    t = g.names[a]
    b = g.tensor(lambda u: u.shape == t.shape and u.dtype is t.dtype)
    rows = t.shape[0] if t.dim() else 1
    classes = f"(torch.arange({rows}) % {max(t.shape[1] if t.dim() > 1 else 1, 1)})"
    how = g.random.choice(["", "", ", reduction='sum'", ", reduction='none'"])
    return g.random.choice([
        f"F.cross_entropy({a}, {classes}{how})", f"F.cross_entropy({a}, {classes}, label_smoothing=0.125{how})",
        f"F.cross_entropy({a}, {classes}, ignore_index=0{how})", f"F.cross_entropy({a}, {b}.softmax(-1){how})",
        f"F.nll_loss({a}.log_softmax(-1), {classes}{how})", f"F.binary_cross_entropy({a}.sigmoid() * 0.75 + 0.125, {b}.sigmoid().detach() * 0.5{how})",
        f"F.gaussian_nll_loss({a}, {b}, {a}.abs() + 1{how})", f"F.poisson_nll_loss({a}, {b}{how})", f"F.soft_margin_loss({a}, {b}.sign(){how})",
        f"F.cosine_similarity({a}, {b}, dim=-1)", f"F.smooth_l1_loss({a}, {b}, beta=0.5{how})", f"F.huber_loss({a}, {b}, delta=0.5{how})",
        f"F.margin_ranking_loss({a}, {b}, {b}.sign(){how})", f"F.pairwise_distance({a}, {b})", f"F.glu({a}, -1)", f"F.softmin({a}, -1)",
        f"F.prelu({a}, data({g.numbers}, (1,), {t.dtype}))", f"F.celu({a})", f"F.hardshrink({a})", f"F.softsign({a})", f"F.threshold({a}, 0.5, -0.0)",
    ])  # fmt: skip


def indexed(g: Generator) -> str | None:
    """Indices that come from tensors, and what writes by them."""
    x = g.tensor(lambda t: t.dim() > 0 and t.numel())
    t = g.names[x]
    if not t.dim() or not t.numel():
        return None
    n = t.shape[0]
    rows = [g.random.randint(-n, n - 1) for _ in range(g.random.randint(1, 5))]
    positive = [r % n for r in rows]
    index = g.random.choice([f"torch.tensor({rows})", f"torch.tensor({positive})", f"torch.arange({n})"])
    same = f"(torch.arange({t.numel()}).reshape({tuple(t.shape)}) % {n})"
    return g.random.choice([
        f"look({x}[{index}])", f"look({x}[{index}, ...] * 2)", f"look({x}[torch.tensor({positive})[:, None]])",
        f"look({x}.index_select(0, torch.tensor({positive})))", f"look({x}.gather(0, {same}))", f"look({x}.scatter(0, {same}, {x}))",
        f"look({x}.scatter_add(0, {same}, {x}))", f"look({x}.index_add(0, torch.tensor({positive}), {x}[torch.tensor({positive})]))",
        f"look({x}.index_put((torch.tensor({rows}),), {x}[0], accumulate=True))", f"look(torch.take_along_dim({x}, {same}, 0))",
        f"look(F.embedding(torch.tensor({positive}), {x}, padding_idx=0))", f"look({x}.index_fill(0, torch.tensor({positive}), 1))",
        f"look(F.one_hot(torch.tensor({positive}), {n}))", f"look({x}.scatter_reduce(0, {same}, {x}, 'amax'))",
        f"look({x}.masked_scatter({x} > 0, {x}.flip(0)))", f"look({x}.topk(1, 0)[0])", f"look({x}[{x}.argmax(0)])",
        f"look({x}[int({x}.sum() > 0)])", f"look(torch.bincount(torch.tensor({positive})))", f"look({x}.repeat_interleave(2, 0))",
    ])  # fmt: skip


def network(g: Generator) -> tuple[list[str], list[str]]:
    """A small network with its optimizer: what sets it up, and one step of training."""
    g.numbers += 4
    k = g.numbers
    m, o, x, y = (g.fresh(p) for p in ("m", "o", "x", "y"))
    kind = g.random.choice(["mlp", "conv", "recurrent", "transformer"])
    if kind == "mlp":
        layers = ["torch.nn.Linear(6, 5)", g.random.choice(["torch.nn.ReLU()", "torch.nn.GELU()", "torch.nn.Tanh()", "torch.nn.SiLU()"]),
                  *g.random.sample(["torch.nn.LayerNorm(5)", "torch.nn.BatchNorm1d(5)", "torch.nn.Dropout(0.25)"], g.random.randint(0, 2)),
                  "torch.nn.Linear(5, 3)"]  # fmt: skip
        shape, out = (4, 6), f"{m}({x})"
    elif kind == "conv":
        layers = [f"torch.nn.Conv2d(2, 3, 3, padding=1{g.random.choice(['', ', bias=False', ', stride=2'])})",
                  g.random.choice(["torch.nn.BatchNorm2d(3)", "torch.nn.GroupNorm(3, 3)", "torch.nn.Identity()"]), "torch.nn.ReLU()",
                  g.random.choice(["torch.nn.MaxPool2d(2)", "torch.nn.AvgPool2d(2)", "torch.nn.AdaptiveAvgPool2d(2)"]), "torch.nn.Flatten()",
                  "torch.nn.LazyLinear(3)"]  # fmt: skip
        shape, out = (2, 2, 6, 6), f"{m}({x})"
    elif kind == "recurrent":
        layer = g.random.choice(["LSTM", "GRU", "RNN"])
        settings = g.random.choice(["", ", num_layers=2", ", bidirectional=True", ", bias=False"])
        layers = [f"torch.nn.{layer}(3, 3{settings}, batch_first={g.random.random() < 0.5})"]
        shape, out = (2, 5, 3), f"{m}[0]({x})[0][..., :3]"
    else:
        layers = ["torch.nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)", "torch.nn.Linear(4, 3)"]
        shape, out = (2, 5, 4), f"{m}({x})"
    classes = tuple(shape[:1]) if kind in ("mlp", "conv") else tuple(shape[:2])
    flat = out if len(classes) == 1 else f"{out}.flatten(0, 1)"
    target = f"({y} > 0).long().flatten()"
    loss = g.random.choice(
        [f"F.cross_entropy({flat}, {target})", f"({out} - {y}[..., None]).square().mean()", f"{out}.tanh().sum()"]
    )
    optimizer = g.random.choice(_OPTIMIZERS).format(f"{m}.parameters()")
    setup = [
        f"torch.manual_seed({k})", f"{m} = torch.nn.Sequential({', '.join(layers)})", f"{x} = weights({k}, {shape})",
        f"{y} = weights({k - 1}, {classes})", f"l{k} = {out}", f"{o} = torch.optim.{optimizer}",
    ]  # fmt: skip
    step = [
        f"{o}.zero_grad({g.random.choice(['', 'set_to_none=False'])})", f"l{k} = {loss}",
        g.random.choice([f"l{k}.backward()"] * 3 + [f"l{k}.backward(retain_graph=True)\nl{k}.backward()"]), f"{o}.step()",
    ]  # fmt: skip
    if g.random.random() < 0.3:
        step.insert(
            3,
            g.random.choice(
                [
                    f"torch.nn.utils.clip_grad_norm_({m}.parameters(), 1.0)",
                    f"torch.nn.utils.clip_grad_value_({m}.parameters(), 0.5)",
                ]
            ),
        )
    if g.random.random() < 0.3:
        setup.append(f"s{k} = torch.optim.lr_scheduler.{g.random.choice(_SCHEDULES).format(o)}")
        step.append(f"s{k}.step()")
    step.append(g.random.choice([
        f"look(l{k})", f"look(list({m}.parameters())[0])", f"look(l{k}.item())", f"if l{k} > 1:\n    {x} = {x} * 0.5",
        f"if l{k}.item() < 0.5:\n    {o}.param_groups[0]['lr'] *= 0.5", f"{m}.eval()\nlook({out})\n{m}.train()",
        f"with torch.no_grad():\n    look({out})", f"look(sum(p.grad.norm() for p in {m}.parameters() if p.grad is not None))",
    ]))  # fmt: skip
    return setup, step


_OPTIMIZERS = [
    "SGD({0}, lr=0.0625)", "SGD({0}, lr=0.1, momentum=0.9, dampening=0.1)", "SGD({0}, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)",
    "SGD({0}, lr=0.1, maximize=True)", "Adam({0}, lr=0.01)", "Adam({0}, lr=0.01, amsgrad=True, weight_decay=0.01)", "AdamW({0}, lr=0.01)",
    "RMSprop({0}, lr=0.01, momentum=0.5, centered=True)", "Adagrad({0}, lr=0.01, lr_decay=0.1)", "Adadelta({0}, lr=0.5)", "Adamax({0}, lr=0.01)",
    "NAdam({0}, lr=0.01)", "RAdam({0}, lr=0.01)", "ASGD({0}, lr=0.01)", "Rprop({0}, lr=0.01)",
]  # fmt: skip
_SCHEDULES = ["StepLR({0}, 1, 0.5)", "CosineAnnealingLR({0}, 5)", "ExponentialLR({0}, 0.9)", "LambdaLR({0}, lambda k: 1 / (k + 1))"]


def course(g: Generator) -> str:
    """Control flow on values."""
    a, new = g.tensor(lambda t: t.numel() and not t.is_complex()), g.fresh()
    b = g.like(a)
    return g.random.choice([
        f"{new} = {a} + {b}\nfor _ in range(3):\n    if {new}.max() > 2:\n        break\n    {new} = {new} * 1.5 + 0.125",
        f"{new} = 0\nfor row in {a}.reshape(-1)[:3]:\n    {new} = {new} + row if row > 0 else {new} - row",
        f"{new} = {a} if {a}.isfinite().all() else {a}.nan_to_num()", f"{new} = {a}[:int(({a} > 0).sum().clamp(0, 2))] * 2",
        f"try:\n    {new} = {a} @ {b}\nexcept RuntimeError:\n    {new} = {a} * {b}",
        f"with torch.enable_grad():\n    {new} = ({a} * {b}).sum()\nlook({new}.requires_grad)",
        f"class Cube(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n        ctx.save_for_backward(x)\n        return x ** 3\n"
        f"    @staticmethod\n    def backward(ctx, g):\n        return 3 * ctx.saved_tensors[0] ** 2 * g\n{new} = Cube.apply({a})",
        f"{new} = torch.func.grad(lambda x: (x * x * x).sum())({a}.detach().float())",
    ])  # fmt: skip


def second_order(g: Generator) -> str:
    """Gradients of gradients, and what is kept for them."""
    leaf = g.tensor(lambda t: t.requires_grad and t.is_leaf)
    f = g.random.choice(["({0} ** 3).sum()", "{0}.tanh().square().sum()", "{0}.softmax(-1).square().sum()", "({0}.exp() * {0}).mean()",
                         "F.layer_norm({0}, {0}.shape[-1:]).square().mean()", "({0} @ {0}.mT).square().mean()"]).format(leaf)  # fmt: skip
    a, b = g.fresh("g"), g.fresh("g")
    return g.random.choice([
        f"{a}, = torch.autograd.grad({f}, {leaf}, create_graph=True)\n{b}, = torch.autograd.grad({a}.square().sum(), {leaf})",
        f"{a}, = torch.autograd.grad({f}, {leaf}, create_graph=True)\n({a} * {a}).sum().backward()",
        f"{a} = {f}\n{a}.backward(retain_graph=True)\n{a}.backward()", f"{a} = {f}\n{leaf}.register_hook(lambda g: g * 2)\n{a}.backward()",
        f"{a} = {leaf} * 2\n{a}.retain_grad()\n{a}.square().sum().backward()\n{b} = {a}.grad",
    ])  # fmt: skip
