"""Devices that the centre does not take, so that the others go on.

A device that is refused (its name, a device limit, a broken record) keeps a cursor of its own,
`uplink/device`, where the uplink's cursor was; the uplink's cursor moves on without it. It is tried again
after a time that doubles, and caught up from its own cursor: held back, never skipped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.store import Store
from agent.supervise import Episode

log = logging.getLogger(__name__)

RETRY_S_FIRST, RETRY_S_MAX = 5.0, 600.0


@dataclass(slots=True)
class _Hold:
    episode: Episode
    due_s: float = 0.0


class Holds:
    """The held devices of one uplink; they survive a restart."""

    def __init__(self, uplink: str, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._prefix, self._store, self._clock = f"{uplink}/", store, clock
        self._holds = {
            name.removeprefix(self._prefix): self._new(name) for name in store.cursors_under(self._prefix)
        }

    def __contains__(self, device: str) -> bool:
        return device in self._holds

    def __len__(self) -> int:
        return len(self._holds)

    def _new(self, name: str) -> _Hold:
        return _Hold(Episode(log, f"uplink {name.replace('/', ', device ', 1)}"))

    def add(self, device: str, seq: int, reason: str) -> None:
        """Hold `device` back (still): everything up to `seq` was delivered before."""
        name = self._prefix + device
        if device not in self._holds:
            self._holds[device] = self._new(name)
            self._store.delivered(name, seq)
        hold = self._holds[device]
        wait_s = min(RETRY_S_MAX, RETRY_S_FIRST * 2.0 ** min(hold.episode.failures, 16))
        hold.due_s = self._clock() + wait_s
        hold.episode.failed(f"the centre does not take it ({reason}); kept here, next try in {wait_s:.0f} s")

    def due(self) -> str | None:
        """A device that is to be tried again now."""
        now_s = self._clock()
        return next((device for device, hold in self._holds.items() if hold.due_s <= now_s), None)

    def seq(self, device: str) -> int:
        """What of the device was delivered."""
        return self._store.cursor(self._prefix + device)

    def advanced(self, device: str, seq: int, until: int) -> None:
        """Delivered up to `seq`; from `until` on it goes with the others again."""
        hold = self._holds[device]
        hold.episode.ended()
        if seq < until:
            self._store.delivered(self._prefix + device, seq)
        else:
            self._store.forget_cursor(self._prefix + device)
            del self._holds[device]
