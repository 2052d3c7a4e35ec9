"""An alarm and its states, in the words of ISA-18.2. Pure: every change gives a new alarm.

Rules.
1. An alarm is raised while its condition holds. It is over when the condition has returned to normal AND
   someone has acknowledged it; until then it stands in the list as `returned`.
2. Shelving (by a person, with an end) and suppression (by design: another alarm explains this one) take it
   out of sight. What comes and goes meanwhile asks for nobody; what is still there at the end is raised anew.
3. Nothing is said about a condition that cannot be known: the alarm stays as it is.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from agent.model import NAN

TEXT_CHARS_MAX = 300
ID_CHARS_MAX = 160


class Priority(enum.StrEnum):
    """How soon someone must act, most urgent first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """1 the most urgent; to compare by."""
        return RANKS[self]

    def at_least(self, other: Priority) -> bool:
        """Whether this is as urgent as `other`, or more."""
        return self.rank <= other.rank


RANKS: Mapping[Priority, int] = MappingProxyType({each: at for at, each in enumerate(Priority, 1)})


class State(enum.StrEnum):
    """ISA-18.2, figure of the alarm states; the letters are its own."""

    NORMAL = "normal"  # A
    UNACKNOWLEDGED = "unacknowledged"  # B: the condition holds, nobody has seen it
    ACKNOWLEDGED = "acknowledged"  # C: the condition holds, someone has seen it
    RETURNED = "returned"  # D: returned to normal, nobody has seen it
    SHELVED = "shelved"  # G: put away by a person until a time
    SUPPRESSED = "suppressed"  # H: by design, another alarm explains it


CODES: Mapping[State, int] = MappingProxyType({state: at for at, state in enumerate(State)})


class Words(NamedTuple):
    """One text in both languages."""

    pt: str
    en: str

    def in_language(self, language: str) -> str:
        """`language` is "pt-BR" or "en"."""
        return self.en if language == "en" else self.pt


@dataclass(frozen=True, slots=True)
class Alarm:
    """`id` names the condition: a rule's name (with its level), or "agent." and more for the agent's own.

    `raised_ms`, `cleared_ms`, `acknowledged_ms` are of the last time, 0 never. `value` is what the point was
    when it was raised, NaN where that says nothing, `detail` free text of whoever raised it. `count` is how
    often it was raised since it was last over, `held` that it chatters and is kept raised.
    """

    id: str
    words: Words
    priority: Priority = Priority.MEDIUM
    source: str = ""  # the point or part of the agent that it is about
    raised: bool = False
    unseen: bool = False  # nobody has acknowledged it since it was raised
    shelved_until_ms: int = 0
    suppressed: bool = False
    held: bool = False
    value: float = NAN
    detail: str = ""
    raised_ms: int = 0
    cleared_ms: int = 0
    acknowledged_ms: int = 0
    acknowledged_by: str = ""
    count: int = 0

    @property
    def state(self) -> State:
        if self.suppressed:
            return State.SUPPRESSED
        if self.shelved_until_ms:
            return State.SHELVED
        if self.raised:
            return State.UNACKNOWLEDGED if self.unseen else State.ACKNOWLEDGED
        return State.RETURNED if self.unseen else State.NORMAL

    @property
    def hidden(self) -> bool:
        """Whether it is kept out of sight, and asks for nobody."""
        return self.suppressed or bool(self.shelved_until_ms)

    @property
    def over(self) -> bool:
        """Whether there is nothing to keep of it."""
        return not (self.raised or self.unseen or self.shelved_until_ms)

    def up(self, now_ms: int, value: float = NAN, detail: str = "") -> Alarm:
        """The condition holds from now on."""
        count = 1 if self.state is State.NORMAL else self.count + 1
        return replace(
            self, raised=True, unseen=True, value=value, detail=detail, raised_ms=now_ms, count=count
        )

    def down(self, now_ms: int) -> Alarm:
        """The condition holds no longer; what nobody could see needs nobody to acknowledge it."""
        return replace(
            self, raised=False, held=False, unseen=self.unseen and not self.hidden, cleared_ms=now_ms
        )

    def seen(self, now_ms: int, who: str) -> Alarm:
        """`who` has acknowledged it."""
        return replace(self, unseen=False, acknowledged_ms=now_ms, acknowledged_by=who)

    def shelved(self, until_ms: int) -> Alarm:
        """Out of sight until then; whoever shelves it has seen it."""
        return replace(self, shelved_until_ms=until_ms, unseen=False)

    def unshelved(self) -> Alarm:
        return replace(self, shelved_until_ms=0, unseen=self.raised)

    def explained(self, *, suppressed: bool) -> Alarm:
        """Another alarm explains this one, or does so no longer."""
        unseen = self.unseen if suppressed else self.raised
        return replace(self, suppressed=suppressed, unseen=unseen)

    def as_json(self) -> dict[str, Any]:
        """For JSON: both languages, the value null if there is none."""
        return {
            "id": self.id,
            "state": self.state.value,
            "priority": self.priority.value,
            "source": self.source,
            "text": {"pt-BR": self.words.pt, "en": self.words.en},
            "detail": self.detail,
            "value": None if self.value != self.value else self.value,
            "raised": self.raised,
            "raised_ms": self.raised_ms,
            "cleared_ms": self.cleared_ms,
            "acknowledged_ms": self.acknowledged_ms,
            "acknowledged_by": self.acknowledged_by,
            "shelved_until_ms": self.shelved_until_ms,
            "chattering": self.held,
            "count": self.count,
        }


def from_json(row: Mapping[str, Any], *, unseen: bool, suppressed: bool) -> Alarm:
    """The alarm that `as_json` wrote, with the two things that its state hides."""
    value = row["value"]
    return Alarm(
        row["id"],
        Words(row["text"]["pt-BR"], row["text"]["en"]),
        Priority(row["priority"]),
        row["source"],
        raised=row["raised"],
        unseen=unseen,
        suppressed=suppressed,
        shelved_until_ms=row["shelved_until_ms"],
        held=row["chattering"],
        value=NAN if value is None else float(value),
        detail=row["detail"],
        raised_ms=row["raised_ms"],
        cleared_ms=row["cleared_ms"],
        acknowledged_ms=row["acknowledged_ms"],
        acknowledged_by=row["acknowledged_by"],
        count=row["count"],
    )


class Change(enum.StrEnum):
    """What happened to an alarm."""

    RAISED = "raised"
    CLEARED = "cleared"
    ACKNOWLEDGED = "acknowledged"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    SUPPRESSED = "suppressed"
    UNSUPPRESSED = "unsuppressed"
    HELD = "held"  # it chatters: kept raised until it is quiet
    LOST = "lost"  # so many changes came that some were not written down


class Event(NamedTuple):
    """A line of the journal. `number` grows; `alarm` is as it was after the change."""

    number: int
    time_ms: int
    change: Change
    who: str
    note: str
    alarm: Alarm

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "time_ms": self.time_ms,
            "change": self.change.value,
            "who": self.who,
            "note": self.note,
            "alarm": self.alarm.as_json(),
        }
