"""A reader's file after it has run: the names that it has made, where they stand, and what is said where one is missing or fails."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flambeau.core.uncaught import explain
from flambeau.diagnosis.doctor import Finding
from flambeau.diagnosis.frames import entries
from flambeau.diagnosis.language import Text


class Wrong(Exception):
    """A property does not hold: what is wrong, what would help, and where."""

    def __init__(self, what: Text, fix: Text | None = None, where: str = "") -> None:
        super().__init__(what, fix, where)
        self.what, self.fix, self.where = what, fix, where


class Answer:
    """The names of a file that has run. ``wants`` are the signatures that an exercise asks for, ``findings`` what the doctor has
    seen."""

    def __init__(
        self, file: str, source: str, names: Mapping[str, Any], wants: Sequence[str], findings: Sequence[Finding] = ()
    ) -> None:
        self.file, self.names, self.findings = file, names, findings
        self._places = places(source)
        self._wants = {re.match(r"\w+", want)[0]: want for want in wants}  # type: ignore[index]

    @classmethod
    def of_source(cls, source: str, wants: Sequence[str], file: str = "answer.py") -> Answer:
        """The answer that a program is, which runs here."""
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(source, file, "exec"), names)
        return cls(file, source, names, wants)

    def where(self, name: str) -> str:
        """File and line of a name."""
        line = self._places.get(name)
        return f"{self.file}:{line} ({name})" if line else self.file

    def wrong(self, name: str, what: Text, fix: Text | None = None) -> Wrong:
        """That ``name`` lacks a property, to be raised."""
        return Wrong(what, fix, self.where(name))

    def get(self, name: str) -> Any:
        """What the file calls ``name``."""
        if name in self.names:
            return self.names[name]
        close = difflib.get_close_matches(name, self._places, n=1)
        fix = Text(f"write {self._wants[name]}", f"请定义 {self._wants[name]}")
        if close:
            fix = Text(
                f"there is {close[0]} in line {self._places[close[0]]}: should that be {self._wants[name]}?",
                f"第 {self._places[close[0]]} 行有 {close[0]}:是否应为 {self._wants[name]}?",
            )
        raise Wrong(Text(f"the file defines no {name}", f"文件中没有定义 {name}"), fix, self.file)

    def function(self, name: str) -> Callable[..., Any]:
        """The function ``name``: a call with other arguments than it takes, and a result of None, are told as such."""
        function = self.get(name)
        if not callable(function):
            raise self.wrong(name, Text(f"{name} is {function!r}, not a function", f"{name} 是 {function!r},不是函数"))

        def called(*arguments: Any) -> Any:
            try:
                inspect.signature(function).bind(*arguments)
            except TypeError as error:
                raise self.wrong(
                    name,
                    Text(
                        f"{name} cannot be called with {len(arguments)} arguments: {error}",
                        f"不能用 {len(arguments)} 个参数调用 {name}:{error}",
                    ),
                    Text(f"its signature is {self._wants[name]}", f"应写成 {self._wants[name]}"),
                ) from None
            except ValueError:
                pass  # a function without a signature
            result = function(*arguments)
            if result is None:
                raise self.wrong(
                    name,
                    Text(f"{name} gives None", f"{name} 的结果是 None"),
                    Text("a function gives what stands after return", "函数的结果写在 return 之后"),
                )
            return result

        return called

    def failed(self, error: BaseException) -> tuple[str, str, str]:
        """Where in the file an error was raised, what it says, and what flambeau advises."""
        lines = [entry.tb_lineno for entry in entries(error.__traceback__) if entry.tb_frame.f_code.co_filename == self.file]
        if isinstance(error, SyntaxError) and error.filename == self.file and error.lineno:
            lines.append(error.lineno)
        where = f"{self.file}:{lines[-1]}" if lines else self.file
        if isinstance(error, SystemExit):
            return where, str(Text("this ends the program: give the result by return", "这会结束程序:结果用 return 给出")), ""
        explain(error)
        name = type(error).__name__
        said = f"{name}: {error}" if str(error) else name
        return where, said, "\n".join(getattr(error, "__notes__", []))


def places(source: str) -> dict[str, int]:
    """The names that a program binds at its top level, each with the line where it does so last; none where it is no Python.

    >>> places("import math\\n\\ndef f(x):\\n    return x\\n\\na, b = 1, 2\\n")
    {'math': 1, 'f': 3, 'a': 6, 'b': 6}
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, int] = {}
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            found[statement.name] = statement.lineno
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found[node.id] = node.lineno
            elif isinstance(node, ast.alias):
                found[node.asname or node.name.partition(".")[0]] = statement.lineno
    return found
