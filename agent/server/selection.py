"""Which points are meant by some patterns: `meter.power`, `meter.*`, `*.voltage_*`. Pure.

A pattern is matched against `device.point` as a shell would match a file name, case counting.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Sequence

from agent.model import Group

PATTERNS_MAX = 200
CANDIDATES_MAX = 100
PATTERN_CHARS_MAX = 130  # two names and a dot fit
EVERYTHING = ("*",)


class Selection:
    """Some of the points of any group. Equal patterns make equal selections."""

    def __init__(self, patterns: Iterable[str] = EVERYTHING) -> None:
        self.patterns = tuple(sorted(set(patterns)))
        self._pattern = re.compile("|".join(fnmatch.translate(each) for each in self.patterns) or r"(?!)")
        self._columns: dict[Group, tuple[int, ...]] = {}

    def columns(self, group: Group) -> tuple[int, ...]:
        """Where in a reading of `group` the chosen values are."""
        columns = self._columns.get(group)
        if columns is None:
            ids = group.point_ids
            columns = tuple(at for at, point_id in enumerate(ids) if self._pattern.match(point_id))
            self._columns[group] = columns
        return columns

    def ids(self, groups: Iterable[Group]) -> list[str]:
        """The chosen points of `groups`."""
        return [group.point_ids[at] for group in groups for at in self.columns(group)]


def select(patterns: Sequence[str], groups: Sequence[Group]) -> Selection:
    """The selection that `patterns` mean; ValueError names those that match no point of `groups`."""
    if not 1 <= len(patterns) <= PATTERNS_MAX or any(len(each) > PATTERN_CHARS_MAX for each in patterns):
        raise ValueError(
            f"expected 1-{PATTERNS_MAX} points of at most {PATTERN_CHARS_MAX} characters; "
            'use "device.*" for all points of a device'
        )
    known = [point_id for group in groups for point_id in group.point_ids]
    ids = set(known)
    unknown = [
        each
        for each in dict.fromkeys(patterns)
        if each not in ids and each != "*" and not fnmatch.filter(known, each)
    ]
    if unknown:
        raise ValueError(_unknown(unknown, known))
    return Selection(patterns)


def _unknown(unknown: Sequence[str], known: Sequence[str]) -> str:
    names = ", ".join(f'"{each}"' for each in unknown[:5])
    near = difflib.get_close_matches(unknown[0], _likely(unknown[0], known), n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(near)}?" if near else "; GET /api/v1/points lists the known ones"
    return f"unknown point {names}{hint}"


def _likely(wanted: str, known: Sequence[str]) -> Sequence[str]:
    """Few enough of the known points for a slow comparison: those that begin or end like `wanted`."""
    device, _, point = wanted.partition(".")
    alike = [each for each in known if each.startswith(device[:3]) or each.endswith(point[-3:] or device)]
    return alike[:CANDIDATES_MAX] or known[:CANDIDATES_MAX]
