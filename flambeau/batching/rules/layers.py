"""What layers are made of: convolutions, normalisation, embeddings, losses of classes."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.batching.batched import batched
from flambeau.batching.rules.families import COMPOSED, Call, call_each, rule
from flambeau.batching.rules.reductions import reduced
from flambeau.tensor.tensor import Tensor

# --- convolutions: samples are images, or groups where they have weights of their own ------------------------------


def _as_channels(x: Tensor) -> Tensor:
    """(B, N, C, ...) as (N, B * C, ...)."""
    return x.movedim(0, 1).flatten(1, 2)


def _from_channels(x: Tensor, n: int) -> Tensor:
    """(N, B * C, ...) as (B, N, C, ...)."""
    return x.unflatten(1, (n, x.shape[1] // n if n else 0)).movedim(1, 0)


@rule("_convolution", "_convolution_input")
def convolution(call: Call) -> Any:
    level, name = call.level, next(iter(call.arguments))
    x, weight, bias = call.arguments[name], call.weight, call.bias
    if not level.has(weight):
        given = {"bias": None if level.has(bias) else bias}
        if level.has(x):
            found = call(**{name: x._value.flatten(0, 1)}, **given).unflatten(0, x._value.shape[:2])
        else:
            found = call(**given)
        if level.has(bias):
            found = found + bias._value.reshape(level.size, 1, -1, *(1,) * (len(call.stride)))
        return level.wrap(found)
    own = None if bias is None else level.expanded(bias).flatten(0, 1)
    found = call(
        **{name: _as_channels(level.expanded(x))}, weight=weight._value.flatten(0, 1), bias=own, groups=call.groups * level.size
    )
    return level.wrap(_from_channels(found, level.size))


@rule("_convolution_weight")
def convolution_weight(call: Call) -> Any:
    level = call.level
    x, grad = _as_channels(level.expanded(call.input)), _as_channels(level.expanded(call.grad))
    found = call(input=x, grad=grad, groups=call.groups * level.size)
    return level.wrap(found.unflatten(0, (level.size, found.shape[0] // level.size)))


# --- normalisation -------------------------------------------------------------------------------------------------


def _form(call: Call, affine: int) -> dict:
    return {
        "form": (call.level.size, *call.form), "axes": tuple([a + 1 for a in call.axes]), "affine": (affine, *call.affine),
    }  # fmt: skip


@rule("_layer_norm", "_group_norm", "_batch_norm")
def normalization(call: Call) -> Any:
    own = call.is_batched("weight", "bias")
    tensors = call.expanded() if own else call.expanded("input")
    return call.level.wrap(call(**tensors, **_form(call, call.level.size if own else 1)))


@rule("_normalization_grad")
def normalization_grad(call: Call) -> Any:
    level = call.level
    results = call(**call.expanded(), **_form(call, level.size))
    return results.__class__([batched(r, level) if r._shape[:1] == (level.size,) else r for r in results])


@rule("_batch_norm_inference")
def batch_norm_inference(call: Call) -> Any:
    level, x = call.level, call.input
    if not call.is_batched("weight", "bias", "running_mean", "running_var"):
        return level.wrap(call(input=x._value.flatten(0, 1)).unflatten(0, x._value.shape[:2]))

    def per_channel(t: Tensor) -> Tensor:
        t = level.aligned(t, 1)
        return t.reshape(*t.shape[:-1], *(1,) * (t.dim() - 1), t.shape[-1], *(1,) * (x.dim() - 2))

    found = (level.aligned(x, x.dim()) - per_channel(call.running_mean.detach())) / (
        per_channel(call.running_var.detach()) + call.eps
    ).sqrt()
    if call.weight is not None:
        found = found * per_channel(call.weight)
    return level.wrap(found if call.bias is None else found + per_channel(call.bias))


_RUNNING = (
    "Batch norm got a batched tensor as input while the running_mean or running_var, which will be updated in place, were not "
    "batched.\nIf you are using a module and do not need eval mode, please set `track_running_stats` to be False.If you are using a "
    "prebuilt module and do not need eval mode, please see the functorch website for resources on how to patch your module to work "
    "with vmap"
)


def _batch_norm(interception: Any, op: Any, args: tuple, kwargs: dict) -> Any:
    given = dict(zip(op.check.__code__.co_varnames, args)) | kwargs
    if given.get("training"):
        for level in interception.levels:
            running = [t for t in (given.get("running_mean"), given.get("running_var")) if t is not None]
            if level.has(given.get("input")) and not all(map(level.has, running)):
                raise RuntimeError(_RUNNING)
    return interception.as_written(op, args, kwargs)


COMPOSED["nn.functional.batch_norm"] = _batch_norm

# --- embeddings: tables below each other ---------------------------------------------------------------------------


@rule("_embedding")
def embedding(call: Call) -> Any:
    level, weight, indices = call.level, call.weight, call.indices
    if not level.has(weight):
        return level.wrap(call(indices=indices._value))
    if call.scale_grad_by_freq or call.in_bags:
        return call_each(level, call.function, (), dict(call.arguments))
    found = weight._value.flatten(0, 1).index_select(0, _below(call, weight.shape[0]).reshape(-1))
    found = found.reshape(level.size, *indices.shape, *weight.shape[1:])
    if call.padding_idx >= 0:  # rows that get no gradient
        found = ops.where((level.expanded(indices) == call.padding_idx).unsqueeze(-1), found.detach(), found)
    return level.wrap(found)


def _below(call: Call, rows: int) -> Tensor:
    """The indices into the tables of all samples, which lie below each other."""
    every = call.level.expanded(call.indices)
    return every + (ops.arange(call.level.size) * rows).view(-1, *(1,) * (every.dim() - 1))


@rule("_embedding_grad")
def embedding_grad(call: Call) -> Any:
    level, rows = call.level, call.rows
    every = _below(call, rows)
    grad = level.expanded(call.grad)
    if call.padding_idx >= 0:
        grad = grad.masked_fill((level.expanded(call.indices) == call.padding_idx).unsqueeze(-1), 0)
    return level.wrap(call(grad=grad, indices=every, rows=rows * level.size, padding_idx=-1).unflatten(0, (level.size, rows)))


# --- losses of classes ---------------------------------------------------------------------------------------------


def _counts(call: Call, target: Tensor) -> Tensor:
    """What each target counts in a mean."""
    ignored = target == call.ignore_index
    if call.weight is None:
        return (~ignored).to(call.arguments["input"].dtype if "input" in call.arguments else call.grad.dtype)
    counts = call.weight.detach().index_select(0, target.masked_fill(ignored, 0).long().reshape(-1)).reshape(target.shape)
    return counts.masked_fill(ignored, 0)


@rule("_nll_loss", "_nll_loss2d")
def nll_loss(call: Call) -> Any:
    level, x = call.level, call.arguments["input"]
    if call.weight is not None and level.has(call.weight):
        return call_each(level, call.function, (), dict(call.arguments))
    scores, target = level.expanded(x), level.expanded(call.target)
    losses = _folded(call, scores, target, x.dim())
    if call.reduction != "mean":
        return level.wrap(reduced(losses, call.reduction))
    return level.wrap(reduced(losses, "sum") / reduced(_counts(call, target), "sum"))


def _folded(call: Call, scores: Tensor, target: Tensor, n: int) -> Tensor:
    """The loss of each target."""
    if n == 1:
        return call(input=scores, target=target, reduction="none")
    return call(input=scores.flatten(0, 1), target=target.flatten(0, 1), reduction="none").unflatten(0, target.shape[:2])


@rule("_nll_loss_grad")
def nll_loss_grad(call: Call) -> Any:
    level, shape = call.level, call.shape
    if call.weight is not None and level.has(call.weight):
        return call_each(level, call.function, (), dict(call.arguments))
    target, grad = level.expanded(call.target), level.expanded(call.grad)
    if call.reduction == "mean":
        grad = grad / reduced(_counts(call, target), "sum")
    if call.reduction != "none":
        grad = grad.reshape(level.size, *(1,) * (target.dim() - 1)).expand(target.shape)
    if len(shape) == 1:
        return level.wrap(call(grad=grad, target=target, shape=(level.size, *shape), reduction="none"))
    found = call(grad=grad.flatten(0, 1), target=target.flatten(0, 1), shape=(level.size * shape[0], *shape[1:]), reduction="none")
    return level.wrap(found.unflatten(0, (level.size, shape[0])))
