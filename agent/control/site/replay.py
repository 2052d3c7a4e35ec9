"""History run again: every recorded cycle through the same pure core, compared bit for bit.

Rules: a stretch begins at the `begin` before it, since state and open quarters grow from there; where the
agent began anew (a restart, a night's learning, a setting), so does the replay. A solver that was late then
is late now, a planner that said nothing says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from pydantic import TypeAdapter

from agent.control.loop import Loop
from agent.control.outline import planner as planner_by
from agent.control.planner import Planner, at_home
from agent.control.room import Observed, Outlook, Room
from agent.control.site.record import Cycle, Record
from agent.control.site.timed import Again

OBSERVED, OUTLOOKS = TypeAdapter(Observed), TypeAdapter(dict[str, Outlook])
ROOMS = TypeAdapter(tuple[Room, ...])
DIFFERENCES_MAX = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """A decision that came out otherwise."""

    time_ms: int
    recorded: Mapping[str, Any]
    replayed: Mapping[str, Any]


@dataclass(slots=True)
class Replayed:
    """What came of it. `skipped`: cycles whose `begin` is gone."""

    cycles: int = 0
    decisions: int = 0
    skipped: int = 0
    differing: int = 0
    first_ms: int = 0
    last_ms: int = 0


def replay(
    record: Record,
    from_ms: int,
    to_ms: int,
    planner: Planner = at_home,
    tell: Callable[[Difference], None] = lambda _: None,
) -> Replayed:
    """Run the cycles of `from_ms` <= time < `to_ms` again; `tell` hears of the first differences."""
    found, again = Replayed(), Again(planner, planner_by(lambda _: None))
    for cycle, loop in _looped(record, from_ms, to_ms, again):
        if loop is None:
            found.skipped += cycle.time_ms >= from_ms
            continue
        again.expect(cycle.solved)
        observed, outlook = OBSERVED.validate_python(cycle.observed), OUTLOOKS.validate_python(cycle.outlook)
        decisions = loop.cycle(cycle.time_ms, observed, outlook)
        if cycle.time_ms >= from_ms:
            _compare(cycle, [orjson.loads(_json(asdict(each))) for each in decisions], found, tell)
    return found


def _looped(
    record: Record, from_ms: int, to_ms: int, planner: Planner
) -> Iterator[tuple[Cycle, Loop | None]]:
    """Each cycle with the loop it belongs to, from the begin before `from_ms` on."""
    loop: Loop | None = None
    at = 0
    for cycle in record.cycles(record.begin_before(from_ms), to_ms):
        if cycle.begin != at:
            at, loop = cycle.begin, _begun(record, cycle.begin, planner)
        yield cycle, loop


def _begun(record: Record, number: int, planner: Planner) -> Loop | None:
    begin = record.begin_of(number)
    if begin is None:
        return None
    loop = Loop(ROOMS.validate_python(begin["rooms"]), planner, learns=False)
    loop.restore(begin["loop"], record.histories(begin["lasts"]))
    return loop


def _compare(
    cycle: Cycle, decisions: list[dict[str, Any]], found: Replayed, tell: Callable[[Difference], None]
) -> None:
    found.first_ms, found.last_ms = found.first_ms or cycle.time_ms, cycle.time_ms
    found.cycles += 1
    found.decisions += len(decisions)
    for before, now in zip(cycle.decisions, decisions, strict=False):
        if before != now:
            found.differing += 1
            if found.differing <= DIFFERENCES_MAX:
                tell(Difference(cycle.time_ms, before, now))
    found.differing += abs(len(cycle.decisions) - len(decisions))


def _json(data: object) -> bytes:
    return orjson.dumps(data)
