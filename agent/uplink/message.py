"""What delivery hands to a link, and what it asks of the format that a centre wants. No I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from agent.model import Reading


class Message(NamedTuple):
    """One publish at QoS 1. `values` is what it counts at the centre's limits; `greets` is what it
    introduces, for a message that comes before the first data."""

    topic: str
    payload: bytes
    device: str
    values: int = 0
    retain: bool = False
    greets: Hashable = None


class Format(Protocol):
    """How a centre wants readings; pure. Delivery calls `greetings` before `data`, with the same readings."""

    expires_s: float  # a greeting is forgotten by the centre when a device was quiet for so long

    def greetings(
        self, device: str, readings: Sequence[Reading], greeted: Mapping[Hashable, object]
    ) -> Iterator[Message]:
        """What must be taken before `readings` of one device, less what was greeted already."""
        ...

    def data(self, device: str, readings: Sequence[Reading], values_max: int) -> Iterator[Message]:
        """All `readings` of one device, each message of `values_max` values at most if that can be."""
        ...


class Link(Protocol):
    """A connection; every failure is an OSError, and the link is not used again then."""

    async def publish_acked(self, topic: str, payload: bytes, who: str, *, retain: bool = False) -> None: ...

    async def settle(self) -> dict[str, str]:
        """Wait for every answer; who was refused, and why."""
        ...

    def check(self) -> None: ...

    @property
    def spoke_s(self) -> Mapping[str, float]:
        """When something was last published for each device (monotonic)."""
        ...

    @property
    def gone(self) -> asyncio.Future[None]: ...
