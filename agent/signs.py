"""Signs of life for the watchdog: each says "" while all is well, or what is not.

Only what a restart can mend counts. A disk that refuses is said and lived with; commits that have simply
stopped coming, or a loop that is always late, end the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from agent.store.state import StoreState

# A slow card may take half a minute over one commit. This long is a deadlock, or a card that hangs for good.
COMMIT_S_MAX = 120.0
LAG_MS_MAX = 5000.0


class Commits:
    """Whether what waits for the disk still gets there, or is at least refused."""

    def __init__(
        self, state: Callable[[], StoreState], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._state, self._monotonic = state, monotonic
        self._committed, self._moved_s = -1, monotonic()

    def __call__(self) -> str:
        state = self._state()
        waiting = state.last_seq - state.committed_seq
        if state.committed_seq != self._committed or waiting <= 0 or state.failing:
            self._committed, self._moved_s = state.committed_seq, self._monotonic()
        still_s = self._monotonic() - self._moved_s
        return f"nothing committed for {still_s:.0f} s" if still_s > COMMIT_S_MAX else ""


class Punctual:
    """Whether the event loop wakes who asked for it; `lag_ms` is the latest measured."""

    def __init__(self, lag_ms: Callable[[], float]) -> None:
        self._lag_ms = lag_ms

    def __call__(self) -> str:
        lag_ms = self._lag_ms()
        return f"late by {lag_ms / 1000:.1f} s" if lag_ms > LAG_MS_MAX else ""
