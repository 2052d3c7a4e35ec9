"""What the running control is handed by whoever starts it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agent.control.site.rests import Rests
from agent.dispatch import Dispatch
from agent.model import Group, Reading


def _none(*_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Doors:
    """What the service hands in: the door for commands, the image, the clocks. `monotonic` is Dispatch's."""

    dispatch: Dispatch
    groups: Sequence[Group]
    latest: Mapping[Group, Reading]
    publish: Callable[[Sequence[Reading]], None] = _none
    now_s: Callable[[], float] = time.time
    certain: Callable[[], bool] = lambda: True
    since_boot_s: Callable[[], float] = lambda: 1e9
    monotonic: Callable[[], float] = time.monotonic
    rests: Rests | None = None
