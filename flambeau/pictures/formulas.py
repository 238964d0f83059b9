"""What an op computes and how gradients flow through it, as text: from the documentation and the rules of its record."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import re
import textwrap
from collections.abc import Callable
from typing import Any

_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega Gamma Delta Theta Lambda Pi Sigma Phi Psi Omega"
_LETTERS = "αβγδεζηθικλμνξπρστφχψωΓΔΘΛΠΣΦΨΩ"
_WORDS = dict(zip(_GREEK.split(), _LETTERS)) | {
    "sum": "∑", "prod": "∏", "int": "∫", "partial": "∂", "cdot": "·", "times": "×", "odot": "⊙", "otimes": "⊗", "oplus": "⊕", "star": "⋆", "circ": "∘",
    "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "approx": "≈", "in": "∈", "infty": "∞", "to": "→", "rightarrow": "→",
    "ldots": "...", "dots": "...", "cdots": "...", "quad": "  ", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "pm": "±", "mid": "|",
    "left": "", "right": "", "big": "", "Big": "", "displaystyle": "", "lVert": "‖", "rVert": "‖", "Vert": "‖", "lvert": "|", "rvert": "|", "top": "ᵀ",
    "text": "", "mathrm": "", "operatorname": "", "mathbf": "", "mathcal": "", "mathit": "", "hat": "", "bar": "", "tilde": "", "varepsilon": "ε", "nabla": "∇",
}  # fmt: skip
_BRACES = r"\{((?:[^{}]|\{[^{}]*\})*)\}"


def readable(formula: str) -> str:
    r"""A formula of LaTeX as plain text.

    >>> readable(r"\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}")
    '(x - μ) / (√(σ^2 + ε))'
    """
    text = " ".join(formula.split())
    for _ in range(4):  # what is inside of what
        text = re.sub(r"\\d?frac\s*" + _BRACES + r"\s*" + _BRACES, r"(\1) / (\2)", text)
        text = re.sub(r"\\sqrt\s*" + _BRACES, r"√(\1)", text)
    text = re.sub(r"\\(begin|end)\{[^{}]*\}(\{[^{}]*\})?", "", text).replace("\\\\", ";").replace("&", " ")
    text = re.sub(r"\\([A-Za-z]+)( ?)", lambda m: _WORDS.get(m[1], m[1] + " ") + (m[2] if _WORDS.get(m[1]) else ""), text)
    text = (
        re.sub(r"\\([{}])", lambda m: {"{": "\x01", "}": "\x02"}[m[1]], text)
        .replace("\\,", " ")
        .replace("\\|", "‖")
        .replace("\\", "")
    )
    text = re.sub(r"([_^])\{([^{}]{1,3})\}", lambda m: m[1] + m[2], text)
    text = re.sub(r"([_^])\{([^{}]*)\}", r"\1(\2)", text)
    text = text.replace("{", "").replace("}", "").replace("\x01", "{").replace("\x02", "}")
    return re.sub(r" +", " ", text).strip()


@functools.lru_cache(4096)
def formula_of(thing: Any) -> str:
    """The first formula in what documents a function or a class, else its first sentence; ``""`` where there is neither."""
    text = inspect.cleandoc(getattr(thing, "__doc__", None) or "")
    found = re.search(r":math:`([^`]+)`", text) or re.search(r"\.\. math::\s*\n((?:\s+.+\n?)+)", text)
    if found is not None:
        return readable(found[1])
    return re.sub(r":\w+:`~?([^`]*)`|``([^`]*)``", lambda m: m[1] or m[2], " ".join(text.partition("\n\n")[0].split()))


def rule_of(function: Callable) -> str:
    """What a rule for a gradient computes, as Python, in the names of its record: ``g * other`` of a lambda, else the function's
    body.

    >>> from flambeau.ops.record import registry
    >>> rule_of(registry["tanh"].grads["input"])
    'g * conj_of(1 - out * out)'
    """
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    if code.co_name != "<lambda>":
        return _body(function)
    names = list(code.co_varnames[: code.co_argcount])
    for node in _lambdas(code.co_filename).get(code.co_firstlineno, []):
        if [a.arg for a in node.args.args] == names and _holds(node, code):
            return ast.unparse(_rule_within(node.body))
    return ""


def _rule_within(body: ast.expr) -> ast.expr:
    """The rule itself where it is given to what rounds its result once."""
    if isinstance(body, ast.Call) and isinstance(body.func, ast.Name) and body.func.id == "rounded_once":
        inner = body.args[0]
        return inner.body if isinstance(inner, ast.Lambda) else ast.Call(inner, body.args[1:], [])
    return body


def _holds(node: ast.Lambda, code: Any) -> bool:
    """Whether the code's instructions come from the body of this lambda, not from another one in the same line."""
    return any((line, column) == (node.body.lineno, node.body.col_offset) for line, _, column, _ in code.co_positions())


@functools.lru_cache(256)
def _lambdas(path: str) -> dict[int, list[ast.Lambda]]:
    """The lambdas of a file by the lines in which they begin."""
    found: dict[int, list[ast.Lambda]] = {}
    try:
        tree = ast.parse("".join(linecache.getlines(path)))
    except SyntaxError:
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            found.setdefault(node.lineno, []).append(node)
    return found


def _body(function: Callable) -> str:
    """The lines of a function, without its documentation."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ""
    if not tree.body or not isinstance(tree.body[0], ast.FunctionDef):
        return ""
    body = [s for s in tree.body[0].body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    if len(body) == 1 and isinstance(body[0], ast.Return) and body[0].value is not None:
        return ast.unparse(body[0].value)
    return "\n".join(map(ast.unparse, body))


class _OfRealNumbers(ast.NodeTransformer):
    """What a rule says of real numbers: conjugates are the numbers themselves."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = node.func
        if isinstance(called, ast.Name) and len(node.args) == 1:
            if called.id == "conj_of":
                return node.args[0]
            if called.id == "conjugate_transpose":
                return ast.Attribute(node.args[0], "mT", ast.Load())
        if isinstance(called, ast.Attribute) and called.attr in ("conj", "conjugate") and not node.args:
            return called.value
        if isinstance(called, ast.Name) and called.id == "_times" and len(node.args) == 2:
            return ast.BinOp(node.args[0], ast.Mult(), node.args[1])
        return node


def of_real_numbers(rule: str) -> str:
    """A rule as it is for real numbers.

    >>> of_real_numbers("g * conj_of(other)"), of_real_numbers("conjugate_transpose(mat1).mm(g)")
    ('g * other', 'mat1.mT.mm(g)')
    """
    return ast.unparse(ast.fix_missing_locations(_OfRealNumbers().visit(ast.parse(rule)))) if rule else ""
