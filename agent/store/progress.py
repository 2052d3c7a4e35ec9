"""What an uplink has yet to deliver: a small set of intervals over the log's numbers. Pure.

Rules.
1. Everything after `beyond` is yet to deliver; up to it only what lies in `gaps`, which are sorted,
   disjoint and not adjacent.
2. At most GAPS_MAX gaps. When there would be more, the two nearest to each other become one: what lies
   between them is delivered again, never skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

GAPS_MAX = 64
END = 2**63 - 1  # beyond any number of the log

Span = tuple[int, int]  # first and last number, both included


class Progress(NamedTuple):
    """Immutable; every change gives a new one."""

    beyond: int = 0
    gaps: tuple[Span, ...] = ()

    def passed(self, first: int, last: int) -> Progress:
        """`first` to `last` need not be delivered any more."""
        if not self.gaps and first <= self.beyond + 1:
            return Progress(max(self.beyond, last))  # the common case: all that was waiting
        return _progress(_without(self._spans, ((first, last),)))

    def again(self, first: int, last: int) -> Progress:
        """`first` to `last` are to be delivered (again)."""
        return _progress(_joined((*self._spans, (first, last))))

    def spans(self, until: int) -> list[Span]:
        """What is yet to deliver of the numbers up to `until`, in order."""
        return [(first, min(last, until)) for first, last in self._spans if first <= until]

    def passed_of(self, first: int, last: int) -> list[Span]:
        """What of `first` to `last` was passed."""
        return list(_without(((first, last),), self._spans))

    def waiting(self, until: int) -> int:
        """How many numbers up to `until` are yet to deliver."""
        return sum(last - first + 1 for first, last in self.spans(until))

    def common(self, other: Progress) -> Progress:
        """What is yet to deliver in both."""
        ours = _without(((1, END),), self._spans)
        return _progress(_without(_without(((1, END),), ours), _without(((1, END),), other._spans)))

    def minus(self, other: Progress) -> list[Span]:
        """What is yet to deliver here but not in `other`."""
        return list(_without(self._spans, other._spans))

    @property
    def _spans(self) -> tuple[Span, ...]:
        return (*self.gaps, (self.beyond + 1, END))


def _progress(spans: Iterable[Span]) -> Progress:
    """From spans of which the last has no end."""
    *gaps, (first, _) = spans
    return Progress(first - 1, _bounded(gaps))


def _bounded(gaps: list[Span]) -> tuple[Span, ...]:
    while len(gaps) > GAPS_MAX:
        at = min(range(1, len(gaps)), key=lambda at: gaps[at][0] - gaps[at - 1][1])
        gaps[at - 1 : at + 1] = [(gaps[at - 1][0], gaps[at][1])]
    return tuple(gaps)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Any spans, sorted; those that overlap or touch are one."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def _without(spans: Iterable[Span], others: Iterable[Span]) -> Iterator[Span]:
    """What of `spans` is in none of `others`; both sorted and disjoint."""
    others = tuple(others)
    for first, last in spans:
        for other_first, other_last in others:
            if other_last < first:
                continue
            if other_first > last:
                break
            if first < other_first:
                yield first, other_first - 1
            first = other_last + 1  # noqa: PLW2901 - the rest of the span
            if first > last:
                break
        if first <= last:
            yield first, last
