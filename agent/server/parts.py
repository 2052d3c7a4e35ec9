"""What of the agent the server serves beside hub and store. What asks for a part that is None gets 503."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from agent.dispatch import Dispatch


class Alarms(Protocol):
    """The alarms of the agent. An alarm is a mapping for JSON with at least `id` and `state`."""

    def active(self) -> Sequence[Mapping[str, Any]]:
        """Those that are not over."""

    def acknowledge(self, alarm: str, who: str) -> bool:
        """Whether there was one to acknowledge."""

    def listen(self, listener: Callable[[Mapping[str, Any]], None]) -> Callable[[], None]:
        """Call `listener` with each alarm that is new or changed; the returned function ends that."""


class Parts(NamedTuple):
    """See the module."""

    dispatch: Dispatch | None = None
    alarms: Alarms | None = None
