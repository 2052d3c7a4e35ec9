"""What keeps a flood of alarms from drowning people, memory and the memory card. Pure.

Rules.
1. An alarm that is raised too often within a window chatters: it is kept raised until it was quiet long
   enough.
2. What is written down (and so sent) a minute is limited for each priority by itself: a flood of low ones
   must not hide a critical one. What was left out is counted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from agent.alarms.alarm import Priority

TRACKS_MAX = 4096


@dataclass(slots=True)
class _Track:
    times_s: deque[float]
    quiet_since_s: float | None = None
    held: bool = field(default=False)


class Chatter:
    """Which alarms come and go too fast: more than `raises_max` in `window_s`; `hold_s` of quiet ends it."""

    def __init__(self, raises_max: int, window_s: float, hold_s: float) -> None:
        self._raises_max, self._window_s, self._hold_s = raises_max, window_s, hold_s
        self._tracks: OrderedDict[str, _Track] = OrderedDict()

    def raised(self, name: str, now_s: float) -> bool:
        """Whether `name`, raised once more, chatters now."""
        track = self._tracks.setdefault(name, _Track(deque(maxlen=self._raises_max + 1)))
        self._tracks.move_to_end(name)
        self._forget_old()
        track.times_s.append(now_s)
        times_s = track.times_s
        track.held = len(times_s) > self._raises_max and now_s - times_s[0] <= self._window_s
        track.quiet_since_s = None
        return track.held

    def _forget_old(self) -> None:
        while len(self._tracks) > TRACKS_MAX:
            self._tracks.popitem(last=False)

    def hold(self, name: str) -> None:
        """`name` was held in an earlier run."""
        self._tracks[name] = _Track(deque(maxlen=self._raises_max + 1), held=True)

    def noticed(self, name: str, now_s: float, *, raised: bool) -> None:
        """What a held alarm would do."""
        track = self._tracks.get(name)
        if track is None:
            return
        if raised:
            track.quiet_since_s = None
        elif track.quiet_since_s is None:
            track.quiet_since_s = now_s

    def is_quiet(self, name: str, now_s: float) -> bool:
        """Whether a held alarm has been quiet for long enough; one that was forgotten is."""
        track = self._tracks.get(name)
        if track is None:
            return True
        return track.quiet_since_s is not None and now_s - track.quiet_since_s >= self._hold_s


class Budget:
    """How many events of each priority may be written down: `per_minute`, as many at once."""

    def __init__(self, per_minute: int, now_s: float) -> None:
        self._per_minute = per_minute
        self._left = {priority: (float(per_minute), now_s) for priority in Priority}

    def take(self, priority: Priority, now_s: float) -> bool:
        """Whether one more may be."""
        left, then_s = self._left[priority]
        left = min(self._per_minute, left + (now_s - then_s) * self._per_minute / 60)
        enough = left >= 1
        self._left[priority] = (left - enough, now_s)
        return enough
