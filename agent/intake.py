"""The one door for readings from outside: as `Dispatch` is for commands, but inwards."""

from __future__ import annotations

from collections.abc import Sequence

from agent.drivers import Driver
from agent.drivers.push import NotTaken, PushLine, Sample

__all__ = ["Intake", "NotTaken", "Sample"]


class Intake:
    """`lines` are those of the running agent, the very list."""

    def __init__(self, lines: Sequence[Driver]) -> None:
        self._lines = lines

    def take(self, device: str, samples: Sequence[Sample]) -> int:
        """Hand `samples` to the line that `device` is on; how many readings it was. NotTaken says why not."""
        for line in self._lines:
            if any(group.device.name == device for group in line.groups):
                if isinstance(line, PushLine):
                    return line.take(device, samples)
                text = (
                    f'{device} is read on line {line.name}: expected a device of a line with driver = "push"'
                )
                raise NotTaken("not_pushed", text)
        raise NotTaken("unknown_device", f'there is no device "{device[:64]}"')
