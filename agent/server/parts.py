"""What of the agent the server serves beside hub and store. What asks for a part that is None gets 503."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from agent.dispatch import Dispatch


class AlarmView(Protocol):
    """One alarm, as it is at one moment."""

    def as_json(self) -> dict[str, Any]: ...


class Alarms(Protocol):
    """The alarms of the agent. What cannot be done raises `Parts.alarm_refused`, which says why."""

    def active(self) -> Sequence[AlarmView]:
        """Those that are not over."""

    def acknowledge(self, name: str, who: str) -> AlarmView: ...

    def shelve(self, name: str, for_s: float, who: str, reason: str = "") -> AlarmView: ...

    def unshelve(self, name: str, who: str) -> AlarmView: ...

    async def history(self, from_ms: int, to_ms: int, *, limit: int) -> Sequence[AlarmView]:
        """What happened to them, newest first."""

    def listen(self, listener: Callable[[Any, Any], None]) -> Callable[[], None]:
        """Call `listener` with what changed and the alarm; the returned function ends that."""


class Parts(NamedTuple):
    """See the module."""

    dispatch: Dispatch | None = None
    alarms: Alarms | None = None
    alarm_refused: type[Exception] = LookupError
