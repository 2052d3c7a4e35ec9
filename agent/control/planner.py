"""What is asked once a quarter of an hour, and what is answered: the seam between what decides each minute
and numpy with HiGHS, 40 MB that the process which is always there need not carry.

Rules: both are plain data, a process can hand them to another. The same day has the same answer, whoever
gives it: history can be replayed bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.control.history import History
from agent.control.model import Model
from agent.control.room import Outlook, Room, Seen

SHORT = "the unit alone will not be enough later"
"""Why a plan starts early; however weak a unit is, cold stored hours before is mostly lost."""


@dataclass(frozen=True, slots=True)
class Day:
    """A room's next `HORIZON` quarters. `margin_k`, `surprise_k`, `reserve`: as tuned, see `RoomState`."""

    room: Room
    model: Model
    history: History
    outlook: Outlook
    temp_c: float
    outdoor: Seen | None = None
    margin_k: float = 0.3
    surprise_k: float = 0.0
    reserve: float = 0.0


@dataclass(frozen=True, slots=True)
class Planned:
    """`load`: [HORIZON], mean of each quarter, 0 to 1; `temp_c`: at its end. `lead`: why the room should be
    cooler than it need be now, "" if the latest start is the cheapest. `late`: the solver was, a simpler one
    stood in."""

    load: tuple[float, ...]
    temp_c: tuple[float, ...]
    lead: str = ""
    late: bool = False


Planner = Callable[[Day], Planned | None]
"""None: nobody answered; what was planned before goes on."""


def at_home(day: Day) -> Planned | None:
    """Planned in this process: numpy and the solver come with it, and stay."""
    from agent.control.outline import planned  # noqa: PLC0415

    return planned(day)
