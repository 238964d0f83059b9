"""Pages: a template, its style and its program in one file, and what they show as JSON.

What comes from users (names, lines, messages) is in the JSON alone, whose ``<`` and ``>`` are escaped so that no text in it can end
the script element; the program puts texts into elements by ``textContent``, never as HTML.
"""

from __future__ import annotations

import json
import linecache
import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from flambeau.diagnosis.language import Text, language
from flambeau.pictures.record import Item, Record, Site
from flambeau.pictures.values import described
from flambeau.pictures.words import WORDS
from flambeau.tensor import Tensor


def template(name: str, package: str = "flambeau.pictures") -> str:
    """One of the files that pages are made of."""
    return (files(package) / "templates" / name).read_text(encoding="utf-8")


def as_script(data: Any) -> str:
    """``data`` as JSON that can stand in a script element.

    >>> as_script("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def assembled(name: str, title: str, data: Any, package: str = "flambeau.pictures", words: Mapping[str, Text] = WORDS) -> str:
    """The page ``name`` of a package: its HTML with the title, its style, its data and its program in place."""
    html = template(f"{name}.html", package)
    parts = {
        "LANG": language(),
        "TITLE": escape(title),
        "STYLE": template(f"{name}.css", package),
        "DATA": as_script({**data, "words": {key: str(text) for key, text in words.items()}}),
        "PROGRAM": template(f"{name}.js", package),
    }
    return re.sub("@@([A-Z]+)@@", lambda found: parts[found[1]], html)


def page(record: Record) -> str:
    """The page of ``flambeau.explain``."""
    return assembled("explain", f"flambeau.explain: {record.title}", data_of(record))


def data_of(record: Record) -> dict[str, Any]:
    """A record as JSON can hold it."""
    group_of, rule_of = {}, {}
    for k, group in enumerate(record.groups):
        group_of.update({record.calls[c]: k for c in group.calls if c < len(record.calls)})
        rule_of.update({record.calls[c]: k for c in group.gradients if c < len(record.calls)})
    return {
        "title": record.title,
        "items": [_item(item, group_of.get(item.id), rule_of.get(item.id)) for item in record.items],
        "boxes": [
            {
                "id": b.id,
                "parent": b.parent,
                "kind": b.kind,
                "name": b.name,
                "title": b.title,
                "formula": b.formula,
                "site": _site(b.site),
            }
            for b in record.boxes
        ],
        "outputs": record.outputs,
        "backward": record.backward,
        "notes": [str(note) for note in record.notes],
        "groups": [
            {"kind": g.kind, "ops": g.ops, "text": g.text, "ir": g.ir, "code": g.code, "us": round(g.us, 2)} for g in record.groups
        ],
    }


def _item(item: Item, group: int | None, rule: int | None) -> dict[str, Any]:
    return {
        "id": item.id,
        "parent": item.parent,
        "op": item.op,
        "title": item.title,
        "formula": item.formula,
        "site": _site(item.site),
        "inputs": [[name, source] for name, source in item.inputs],
        "values": [_value(v, shape) for v, shape in zip(item.values, item.shapes, strict=True)],
        "grads": [None if g is None else described(g) for g in item.grads],
        "links": [list(link) for link in item.links],
        "made": item.made,
        "error": item.error,
        "group": group,
        "rule": rule,
    }


def _value(value: Tensor | None, shape: tuple[list[int], str]) -> dict[str, Any]:
    return {"shape": shape[0], "dtype": shape[1]} if value is None else described(value)


def _site(site: Site | None) -> list[Any] | None:
    """File, line and its text."""
    return None if site is None else [site[0], site[1], linecache.getline(*site).strip()]
