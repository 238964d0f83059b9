"""``flambeau.summary``: a module's parts as a table."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

from flambeau import no_grad
from flambeau.diagnosis.language import Text
from flambeau.nn import Module
from flambeau.nn.modules._hooks import register_module_forward_hook
from flambeau.nn.parameter import is_lazy
from flambeau.ops.creation import zeros
from flambeau.pictures.restoring import restored
from flambeau.tensor import Tensor
from flambeau.utils._pytree import tree_leaves
from flambeau.utils.flop_counter import FlopCounterMode

__all__ = ["Summary", "summary"]


class Row(NamedTuple):
    """One module: how deep it lies, its name there, its class and settings, and what was seen of it.

    ``shapes`` are those of its results in the order of its calls; ``parameters`` counts its own and those of its parts, ``flops``
    the floating-point operations of its matrix products and convolutions. ``None``: it was not called.
    """

    depth: int
    name: str
    kind: str
    shapes: str | None
    parameters: int
    flops: int | None


class Summary:
    """The table of a module: text where it is printed, a table where a notebook shows it. ``rows`` has one :class:`Row` a module.

    ``total``, ``trainable`` and ``bytes`` are of parameters that the module's parts share counted once.
    """

    def __init__(self, module: Module, rows: list[Row]) -> None:
        self.rows = rows
        parameters = [p for p in module.parameters() if not is_lazy(p)]
        self.total = sum(p.numel() for p in parameters)
        self.trainable = sum(p.numel() for p in parameters if p.requires_grad)
        self.bytes = sum(p.numel() * p.element_size() for p in (*parameters, *[b for b in module.buffers() if not is_lazy(b)]))
        self.called = any(row.shapes is not None for row in rows)

    def _head(self) -> list[str]:
        seen = (
            [str(Text("result", "输出")), str(Text("parameters", "参数")), "FLOPs"]
            if self.called
            else [str(Text("parameters", "参数"))]
        )
        return [str(Text("module", "模块")), str(Text("kind", "类型")), *seen]

    def _cells(self, row: Row) -> list[str]:
        seen = (
            [row.shapes or "", f"{row.parameters:,}", "" if not row.flops else f"{row.flops:,}"]
            if self.called
            else [f"{row.parameters:,}"]
        )
        return ["  " * row.depth + row.name, row.kind, *seen]

    def _foot(self) -> str:
        size = f"{self.bytes / (1 << 20):.1f} MiB" if self.bytes >= 1 << 20 else f"{self.bytes / 1024:.1f} KiB"
        return str(
            Text(
                f"{self.total:,} parameters, {self.trainable:,} of them trained; {size} with buffers",
                f"共 {self.total:,} 个参数,其中 {self.trainable:,} 个参与训练;连同缓冲区 {size}",
            )
        )

    def __str__(self) -> str:
        rows = [self._head(), *map(self._cells, self.rows)]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [
            "  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
            for row in rows
        ]
        lines.insert(1, "  ".join("-" * w for w in widths))
        return "\n".join([*lines, self._foot()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f'<th style="text-align:left">{escape(cell)}</th>' for cell in self._head())
        body = []
        for row in self.rows:
            name, *rest = self._cells(row)
            first = f'<td style="text-align:left;padding-left:{0.5 + 1.2 * row.depth}em">{escape(name.strip())}</td>'
            cells = [f'<td style="text-align:{"left" if i == 0 else "right"}">{escape(cell)}</td>' for i, cell in enumerate(rest)]
            body.append(f"<tr>{first}{''.join(cells)}</tr>")
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table><p>{escape(self._foot())}</p>"


def summary(module: Module, *inputs: Any, **keywords: Any) -> Summary:
    """A table of a module's parts: names, kinds, the shapes of their results, parameters, floating-point operations.

    Args:
        inputs: what the module is called with, to see shapes and operations; a tuple of ints stands for a float tensor of that
            shape. Without any, the module is not called.
        keywords: its keyword arguments.

    The call is made without gradients, and buffers and the random stream are put back. Operations are those of matrix products,
    convolutions and attention (two for a product and a sum), as ``torch.utils.flop_counter`` counts them.

    >>> import flambeau as torch
    >>> from flambeau import nn
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> torch.summary(net, (5, 3))
    module      kind                                              result  parameters  FLOPs
    ----------  ------------------------------------------------  ------  ----------  -----
    Sequential  Sequential                                        [5, 2]          26    200
      0         Linear(in_features=3, out_features=4, bias=True)  [5, 4]          16    120
      1         ReLU                                              [5, 4]           0
      2         Linear(in_features=4, out_features=2, bias=True)  [5, 2]          10     80
    26 parameters, 26 of them trained; 0.1 KiB with buffers
    """
    if not isinstance(module, Module):
        raise TypeError(
            f"summary(): expected a module, got {type(module).__name__}: summary(net, input) or summary(net, (batch, features))"
        )
    shapes: dict[int, list[str]] = {}
    flops: dict[str, int] = {}
    if inputs or keywords:
        given = [zeros(x) if _is_shape(x) else x for x in inputs]

        def called(part: Module, args: tuple, output: Any) -> None:
            found = [str(list(t.shape)) for t in tree_leaves(output) if isinstance(t, Tensor)]
            shapes.setdefault(id(part), []).append(", ".join(found))

        hook = register_module_forward_hook(called)
        try:
            with no_grad(), restored([module]), FlopCounterMode(display=False) as counter:
                module(*given, **keywords)
        finally:
            hook.remove()
        flops = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    top = type(module).__name__
    rows = []
    for path, part in module.named_modules():
        extra = part.extra_repr()
        calls = shapes.get(id(part))
        seen = None if calls is None else calls[0] + (f" x{len(calls)}" if len(calls) > 1 else "")
        parameters = sum(p.numel() for p in part.parameters() if not is_lazy(p))
        flop = None if calls is None else flops.get(f"{top}.{path}" if path else top, 0)
        kind = f"{type(part).__name__}({extra})" if extra and len(extra) < 60 else type(part).__name__
        rows.append(Row(path.count(".") + 1 if path else 0, path.rpartition(".")[2] or top, kind, seen, parameters, flop))
    return Summary(module, rows)


def _is_shape(x: Any) -> bool:
    return isinstance(x, (tuple, list)) and all(isinstance(n, int) for n in x)
