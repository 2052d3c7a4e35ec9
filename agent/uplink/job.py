"""A stretch of the log on its way out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from agent.model import Reading
from agent.store.progress import Span
from agent.uplink.message import Message


@dataclass(slots=True)
class Job:
    """Passed when `pending` is empty and all was answered. `readings` are those that it delivers."""

    span: Span
    readings: list[Reading]
    pending: deque[Message] = field(default_factory=deque)

    def without(self, device: str) -> None:
        """Leave `device` out."""
        self.readings = [reading for reading in self.readings if reading.group.device.name != device]
        self.pending = deque(message for message in self.pending if message.device != device)
