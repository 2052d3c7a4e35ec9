"""What a plug-in's file says about itself, read from its source. Nothing of it is run.

`publishes` and `alarms` of `@plugin(...)` and the defaults of the options are therefore literals.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from agent.schema import Fault, FaultyFile

TOOLS = ("history", "latest", "publish", "alarm", "submit", "progress", "now")
FILE_BYTES_MAX = 256 * 1024
PUBLISHED_MAX = 100
ALARMS_MAX = 20

Option = bool | int | float | str


class Outline(NamedTuple):
    """Names, with unit (`publishes`), texts in Portuguese and English (`alarms`), default (`options`)."""

    function: str
    words: str
    uses: tuple[str, ...]
    publishes: Mapping[str, str]
    alarms: Mapping[str, tuple[str, str]]
    options: Mapping[str, Option]


def outline(file: Path) -> Outline:
    """The outline of `file`; FaultyFile says all that is wrong with it."""
    try:
        source = file.read_bytes()
    except OSError as error:
        raise FaultyFile([Fault(str(file), "", f"expected a readable file: {error.strerror}")]) from None
    if len(source) > FILE_BYTES_MAX:
        raise FaultyFile([Fault(str(file), "", f"expected at most {FILE_BYTES_MAX} bytes")])
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise FaultyFile([Fault(str(file), f"line {line or '?'}", f"expected Python: {error}")]) from None
    functions = list(_marked(tree))
    if len(functions) != 1:
        text = f"expected one function with @plugin(...), found {len(functions)}"
        raise FaultyFile([Fault(str(file), "", text)])
    reading = _Reading(str(file))
    found = reading.outline(*functions[0])
    if reading.faults:
        raise FaultyFile(reading.faults)
    return found


def _marked(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in node.decorator_list:
                called = mark.func if isinstance(mark, ast.Call) else mark
                if getattr(called, "id", getattr(called, "attr", "")) == "plugin":
                    yield node, mark


class _Reading:
    """Collects the faults of one file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.faults: list[Fault] = []

    def _fault(self, node: ast.AST, text: str) -> None:
        self.faults.append(Fault(self._file, f"line {getattr(node, 'lineno', '?')}", text))

    def outline(self, function: ast.FunctionDef | ast.AsyncFunctionDef, mark: ast.expr) -> Outline:
        if isinstance(function, ast.AsyncFunctionDef):
            self._fault(
                function, "expected `def`, found `async def`: a plug-in may wait, it has its own process"
            )
        if not isinstance(mark, ast.Call):
            self._fault(mark, "expected @plugin() with brackets")
        arguments = self._arguments(mark)
        uses, options = self._parameters(function)
        words = (ast.get_docstring(function) or "").partition("\n")[0]
        return Outline(
            function.name,
            words,
            uses,
            self._units(mark, arguments.get("publishes", {})),
            self._texts(mark, arguments.get("alarms", {})),
            options,
        )

    def _arguments(self, mark: ast.expr) -> dict[str, object]:
        found: dict[str, object] = {}
        for keyword in mark.keywords if isinstance(mark, ast.Call) else ():
            if keyword.arg not in ("publishes", "alarms"):
                self._fault(mark, f"expected publishes and alarms, found {keyword.arg}")
                continue
            try:
                found[keyword.arg] = ast.literal_eval(keyword.value)
            except ValueError:
                self._fault(keyword.value, f"{keyword.arg}: expected a literal, like {{'mean': 'W'}}")
        return found

    def _units(self, mark: ast.AST, value: object) -> dict[str, str]:
        good = isinstance(value, dict) and all(_is_name(k) and isinstance(u, str) for k, u in value.items())
        if not good or len(value) > PUBLISHED_MAX:  # type: ignore[arg-type]
            self._fault(mark, f"publishes: expected at most {PUBLISHED_MAX} names (a-z, 0-9, _) with units")
            return {}
        return dict(value)  # type: ignore[call-overload, no-any-return]

    def _texts(self, mark: ast.AST, value: object) -> dict[str, tuple[str, str]]:
        good = isinstance(value, dict) and all(_is_name(k) and _is_pair(t) for k, t in value.items())
        if not good or len(value) > ALARMS_MAX:  # type: ignore[arg-type]
            self._fault(mark, f"alarms: expected at most {ALARMS_MAX} names with texts (Portuguese, English)")
            return {}
        return {key: (texts[0], texts[1]) for key, texts in value.items()}  # type: ignore[attr-defined]

    def _parameters(
        self, function: ast.FunctionDef | ast.AsyncFunctionDef
    ) -> tuple[tuple[str, ...], dict[str, Option]]:
        given = function.args
        if given.vararg or given.kwarg or given.posonlyargs:
            self._fault(function, "expected parameters by name, found * or /")
        plain = [*given.posonlyargs, *given.args]
        defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
        pairs = [*zip(plain, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
        uses, options = [], {}
        for parameter, default in pairs:
            if parameter.arg in TOOLS:
                uses.append(parameter.arg)
            elif (value := self._default(parameter, default)) is not None:
                options[parameter.arg] = value
        return tuple(uses), options

    def _default(self, parameter: ast.arg, default: ast.expr | None) -> Option | None:
        if default is None:
            near = difflib.get_close_matches(parameter.arg, TOOLS, n=1)
            hint = f", did you mean '{near[0]}'?" if near else f"; the agent hands in {', '.join(TOOLS)}"
            self._fault(parameter, f"{parameter.arg}: expected a default{hint}")
            return None
        try:
            value = ast.literal_eval(default)
        except ValueError:
            value = None
        if not isinstance(value, bool | int | float | str):
            self._fault(default, f"{parameter.arg}: expected a number, a text, True or False as its default")
            return None
        return value


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isidentifier() and key == key.lower() and len(key) <= 40


def _is_pair(texts: object) -> bool:
    return (
        isinstance(texts, tuple | list) and len(texts) == 2 and all(isinstance(each, str) for each in texts)
    )


def option_faults(found: Outline, given: Mapping[str, Option]) -> Iterator[tuple[str, str]]:
    """What of the options that are `given` does not fit, as key and text."""
    for name, value in given.items():
        if name not in found.options:
            near = difflib.get_close_matches(name, found.options, n=1)
            hint = (
                f", did you mean '{near[0]}'?" if near else f"; known: {', '.join(found.options) or 'none'}"
            )
            yield name, f"unknown option{hint}"
            continue
        default = found.options[name]
        fits = type(value) is type(default) or (type(default) is float and type(value) is int)
        if not fits:
            yield name, f"expected a value like {default!r}, found {value!r}"
