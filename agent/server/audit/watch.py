"""What is refused, noted and watched: a burst raises an alarm, a flood does not fill the log.

Rules. Of one sort of refusal from one peer SINGLY_MAX a window are noted one by one, the rest as one entry
with their number when the window ends. An alarm is raised once, and again only QUIET_S later. Memory is
bounded whatever comes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from agent.server.audit.journal import Audit
from agent.server.identity.throttle import peer_key

Alarm = Callable[[str, str], None]

WINDOW_S = 60.0
SINGLY_MAX = 5
PEERS_MAX = 256  # counted one by one; those after them together
MANY = "many"
REFUSALS_ALARM = 30  # within WINDOW_S, of DOORS
FORGERIES_ALARM = 3  # within FORGERIES_S: one may be a token cut short by hand
FORGERIES_S = 600.0
QUIET_S = 600.0

# Refusals of who may come in, and do what. Any other is of somebody's mistake: a script that writes a wrong
# configuration over and over is no attack.
DOORS = ("login.", "token.", "setup.", "totp.", "permission.", "forbidden_origin", "path.")
CLIMBING = "path.climbing"
FORGED = "token.forged"
REPLAYED = "token.replayed"
EXPIRED = "token.expired"


@dataclass(slots=True)
class _Window:
    begun_s: float
    count: int = 0


class Watch:
    """`alarm(code, text)` is told of attacks; `clock` counts seconds and never goes back."""

    def __init__(self, audit: Audit, alarm: Alarm, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit, self._alarm, self._clock = audit, alarm, clock
        self._windows: dict[tuple[str, str], _Window] = {}
        self._refusals: deque[float] = deque(maxlen=REFUSALS_ALARM)
        self._forgeries: deque[float] = deque(maxlen=FORGERIES_ALARM)
        self._raised_s: dict[str, float] = {}

    def refused(self, kind: str, *, who: str = "", peer: str | None = "", **what: object) -> None:
        """Something was refused to `peer`; `what` says more."""
        self._count(kind, peer or "")
        key = (kind, peer_key(peer))
        if key not in self._windows and len(self._windows) >= PEERS_MAX:
            key = (kind, MANY)
        window = self._windows.setdefault(key, _Window(self._clock()))
        window.count += 1
        if window.count <= SINGLY_MAX:
            self._audit.note(kind, who=who, peer=peer, **what)

    def tick(self) -> None:
        """Note what windows that have ended had more; to be called about once a second."""
        now_s = self._clock()
        for key, window in list(self._windows.items()):
            if now_s - window.begun_s >= WINDOW_S:
                del self._windows[key]
                self._close(key, window)

    def close(self) -> None:
        """Note what is still open."""
        while self._windows:
            self._close(*self._windows.popitem())

    def _close(self, key: tuple[str, str], window: _Window) -> None:
        more = window.count - SINGLY_MAX
        if more > 0:
            self._audit.note(key[0], peer=key[1], more=more, within_s=round(self._clock() - window.begun_s))

    def _count(self, kind: str, peer: str) -> None:
        if kind == EXPIRED:
            return  # a laptop that slept
        if kind == REPLAYED:
            self._raise(kind, f"a refresh token was used a second time, from {peer}: it may be stolen")
        if kind == FORGED and self._many(self._forgeries, FORGERIES_S):
            self._raise(kind, f"{FORGERIES_ALARM} forged tokens or more, the last from {peer}")
        if kind.startswith(DOORS) and self._many(self._refusals, WINDOW_S):
            text = f"{REFUSALS_ALARM} refusals or more within {WINDOW_S:g} s, the last ({kind}) from {peer}"
            self._raise("refusals", text)

    def _many(self, times: deque[float], within_s: float) -> bool:
        times.append(self._clock())
        return len(times) == times.maxlen and times[-1] - times[0] <= within_s

    def _raise(self, code: str, text: str) -> None:
        now_s = self._clock()
        if now_s - self._raised_s.get(code, -QUIET_S) < QUIET_S:
            return
        self._raised_s[code] = now_s
        self._audit.note("alarm.raised", code=code, text=text)
        self._alarm(f"server.{code}", text)
