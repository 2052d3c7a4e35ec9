"""Up to where somebody reads, and of which groups. Lean: see `series`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from agent.model import Group

SEQ_MAX = 2**62
LAST = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'reading'"

Row: TypeAlias = tuple[int, int, int, int, bytes]  # seq, group id, time_ms, quality, packed
Period: TypeAlias = tuple[int, int]


class Moment(NamedTuple):
    """What there was at one moment: the file up to `last_seq`, and beyond it `newest`, which is in memory."""

    last_seq: int = SEQ_MAX
    newest: Sequence[Row] = ()


class Told(NamedTuple):
    """What of the past is told: of `points`, as of `moment`. `step_ms` 0: every reading."""

    points: set[str]
    period_ms: Period
    moment: Moment
    step_ms: int


def keyed(groups: Mapping[int, Group], points: Collection[str]) -> dict[int, Group]:
    """The groups that hold any of `points`."""
    wanted = set(points)
    return {key: group for key, group in groups.items() if not wanted.isdisjoint(group.point_ids)}
