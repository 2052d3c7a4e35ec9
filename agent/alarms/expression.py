"""Expressions over points, for alarm rules: a small language with a parser of its own. Pure.

    main-meter.active_power > 50 and not (room-101.occupied == 1 or abs(a.t - b.t) < 2)

Rules.
1. Operators, weakest first: `or`, `and`, `not`, one comparison (`<  <=  >  >=  ==  !=`), `+ -`, `* /`, unary
   `-`; functions `abs(x)`, `min(x, ...)`, `max(x, ...)`; parentheses. Nothing else: no names, no calls.
2. A point is `device.point`. Names may hold "-", so a minus between points needs spaces.
3. NaN is "not known": what is computed from it is not known, `x or y` is true as soon as one is known to be
   true, `x and y` false as soon as one is known to be false.
4. An expression says yes or no: it is a comparison or made of them.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from agent.model import NAN

CHARS_MAX = 500
DEPTH_MAX = 30

Values = Sequence[float]
Evaluate = Callable[[Values], float]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?(?![\w.]))"
    r"|(?P<point>[A-Za-z0-9][\w-]*\.[A-Za-z0-9][\w-]*)"
    r"|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|==|!=|[-+*/<>(),]))",
    re.ASCII,
)
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: left / right if right else NAN,
}


_FUNCTIONS: dict[str, Callable[[list[float]], float]] = {
    "abs": lambda found: abs(found[0]),
    "min": min,
    "max": max,
}


class Expression(NamedTuple):
    """`evaluate(values)`, one value for each of `points` in their order: 1 yes, 0 no, NaN not known."""

    text: str
    points: tuple[str, ...]
    evaluate: Evaluate


class _Part(NamedTuple):
    evaluate: Evaluate
    says_yes_or_no: bool


def parse(text: str) -> Expression:
    """`text` as an expression. ValueError says where it goes wrong, and what was expected there."""
    if len(text) > CHARS_MAX:
        raise ValueError(f"expected at most {CHARS_MAX} characters, found {len(text)}")
    parser = _Parser(text)
    part = parser.any_of()
    parser.end()
    if not part.says_yes_or_no:
        raise ValueError(f'expected a comparison, like "{text.strip()} > 10"')
    if not parser.points:
        raise ValueError("expected at least one point, as device.point")
    return Expression(text, tuple(parser.points), part.evaluate)


class _Parser:
    """Recursive descent, a method for each strength of rule 1."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0
        self.points: dict[str, int] = {}
        self._next()

    def _next(self) -> None:
        found = _TOKEN.match(self._text, self._at)
        self._start = self._at
        if found is None:
            self._kind, self._token = "end", self._text[self._at :].strip()
            return
        self._kind, self._token = found.lastgroup or "", found[found.lastgroup or 0]
        self._start, self._at = found.start(self._kind), found.end()

    def _took(self, *tokens: str) -> str:
        """The token now, taken, if it is one of `tokens`; "" if not."""
        token = self._token
        if self._kind not in ("sign", "word") or token not in tokens:
            return ""
        self._next()
        return token

    def _wrong(self, expected: str) -> ValueError:
        found = f'"{self._text[self._start :].strip()[:30]}"' if self._token else "the end"
        return ValueError(f"expected {expected} at character {self._start + 1}, found {found}")

    def end(self) -> None:
        if self._kind != "end" or self._token:
            raise self._wrong('the end, "and", "or" or an operator')

    def any_of(self) -> _Part:
        part = self._all_of()
        while self._took("or"):
            part = _or(self._yes_or_no(part), self._yes_or_no(self._all_of()))
        return part

    def _all_of(self) -> _Part:
        part = self._denial()
        while self._took("and"):
            part = _and(self._yes_or_no(part), self._yes_or_no(self._denial()))
        return part

    def _denial(self) -> _Part:
        if self._took("not"):
            inner = self._yes_or_no(self._deeper(self._denial)).evaluate
            return _Part(lambda values: 1.0 - inner(values), says_yes_or_no=True)
        return self._comparison()

    def _comparison(self) -> _Part:
        left = self._sum()
        sign = self._took(*_COMPARISONS)
        if not sign:
            return left
        right = self._sum()
        return _compare(_COMPARISONS[sign], self._number(left), self._number(right))

    def _sum(self) -> _Part:
        part = self._product()
        while sign := self._took("+", "-"):
            part = _compute(_ARITHMETIC[sign], self._number(part), self._number(self._product()))
        return part

    def _product(self) -> _Part:
        part = self._signed()
        while sign := self._took("*", "/"):
            part = _compute(_ARITHMETIC[sign], self._number(part), self._number(self._signed()))
        return part

    def _signed(self) -> _Part:
        if self._took("-"):
            inner = self._number(self._deeper(self._signed))
            return _Part(lambda values: -inner(values), says_yes_or_no=False)
        return self._atom()

    def _atom(self) -> _Part:
        if self._kind == "number":
            return self._constant()
        if self._kind == "point":
            return self._point()
        if function := self._took(*_FUNCTIONS):
            return self._call(function)
        if not self._took("("):
            raise self._wrong("a number, a point (device.point) or a parenthesis")
        part = self._deeper(self.any_of)
        self._close()
        return part

    def _constant(self) -> _Part:
        value = float(self._token)
        if not math.isfinite(value):
            raise self._wrong("a finite number")
        self._next()
        return _Part(lambda _values: value, says_yes_or_no=False)

    def _point(self) -> _Part:
        at = self.points.setdefault(self._token, len(self.points))
        self._next()
        return _Part(lambda values: values[at], says_yes_or_no=False)

    def _call(self, function: str) -> _Part:
        if not self._took("("):
            raise self._wrong(f'"(" after {function}')
        inner = [self._number(self._deeper(self._sum))]
        while function != "abs" and self._took(","):
            inner.append(self._number(self._deeper(self._sum)))
        self._close()
        return _function(function, inner)

    def _close(self) -> None:
        if not self._took(")"):
            raise self._wrong('")"')

    def _deeper(self, read: Callable[[], _Part]) -> _Part:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ValueError(f"expected at most {DEPTH_MAX} levels of nesting")
        part = read()
        self._depth -= 1
        return part

    def _number(self, part: _Part) -> Evaluate:
        if part.says_yes_or_no:
            raise self._wrong("numbers on both sides; compare once, and join comparisons with and, or")
        return part.evaluate

    def _yes_or_no(self, part: _Part) -> _Part:
        if not part.says_yes_or_no:
            raise self._wrong('comparisons on both sides of "and" and "or", and after "not"')
        return part


def _compute(compute: Callable[[float, float], float], left: Evaluate, right: Evaluate) -> _Part:
    def evaluate(values: Values) -> float:
        result = compute(left(values), right(values))
        return result if math.isfinite(result) else NAN

    return _Part(evaluate, says_yes_or_no=False)


def _compare(compare: Callable[[float, float], bool], left: Evaluate, right: Evaluate) -> _Part:
    def evaluate(values: Values) -> float:
        one, other = left(values), right(values)
        return NAN if math.isnan(one) or math.isnan(other) else float(compare(one, other))

    return _Part(evaluate, says_yes_or_no=True)


def _function(name: str, inner: Sequence[Evaluate]) -> _Part:
    choose = _FUNCTIONS[name]

    def evaluate(values: Values) -> float:
        found = [each(values) for each in inner]
        return NAN if any(map(math.isnan, found)) else choose(found)

    return _Part(evaluate, says_yes_or_no=False)


def _or(left: _Part, right: _Part) -> _Part:
    def evaluate(values: Values) -> float:
        one, other = left.evaluate(values), right.evaluate(values)
        return 1.0 if 1.0 in (one, other) else one + other  # 0 or, where one is not known, NaN

    return _Part(evaluate, says_yes_or_no=True)


def _and(left: _Part, right: _Part) -> _Part:
    def evaluate(values: Values) -> float:
        one, other = left.evaluate(values), right.evaluate(values)
        return 0.0 if 0.0 in (one, other) else one * other  # 1 or, where one is not known, NaN

    return _Part(evaluate, says_yes_or_no=True)
