"""The time that readings are stamped with, on a box whose clock may be wrong.

Rules.
1. Stamps come from a clock of our own: the time since boot (which nobody can set) plus an offset.
2. Until the wall clock is trusted, the offset follows it wherever it jumps; `check` then says by how
   much all that was stamped so far must be shifted, so that order and distances stay true.
3. Once trusted, our time never goes back. A wall clock that jumps ahead is followed at once; one that
   is set back is approached by running slow, and readings are uncertain until it is reached.
4. A restart does not undo rule 3: `stay_after` is told the last stamp of the run before. A wall clock less
   than BEHIND_S_MAX behind it is approached in the same way; one that is further behind is believed.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

log = logging.getLogger(__name__)

Trust = Literal["synchronised", "always"]

JUMP_S = 2.0  # a difference that somebody made, not a drift
NOTICED_S = 0.05
SLOW_RATE = 0.9
BEHIND_S_MAX = 86400.0  # further back than this the last stamp was the mistake, not the wall clock
STEP_S = 0.001  # what keeps two stamps apart

_TIME_ERROR = 5  # adjtimex(2): the kernel's clock is not synchronised
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")


class _Timex(ctypes.Structure):
    """adjtimex(2)'s struct; with `modes` 0 it is only filled, which anyone may ask for."""

    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_char * 512))


def kernel_synchronised() -> bool:
    """Whether something (NTP, PTP, GPS) keeps this machine's clock right, by the kernel's own word."""
    if _TIMESYNCD.exists():
        return True
    try:
        state: int = ctypes.CDLL(None).adjtimex(ctypes.byref(_Timex()))
    except (OSError, AttributeError):
        return False
    return state not in (-1, _TIME_ERROR)


def since_boot_s() -> float:
    """Seconds since boot, sleep included; nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Names this boot of this machine. A sandbox that hides it hands it in."""
    given = os.environ.get("UICPS_BOOT_ID")
    named = given or Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return named.strip().replace("-", "")


class Clock:
    """`now_s` for every stamp; `check` once a second."""

    def __init__(
        self,
        trust: Trust = "always",
        *,
        wall_s: Callable[[], float] = time.time,
        boot_s: Callable[[], float] = since_boot_s,
        synchronised: Callable[[], bool] = kernel_synchronised,
    ) -> None:
        self._trust, self._wall_s, self._boot_s, self._synchronised = trust, wall_s, boot_s, synchronised
        self._base_s, self._base_boot_s, self._rate = wall_s(), boot_s(), 1.0
        self._behind_s = 0.0
        self._first_s, self._floor_s = self._base_s, -math.inf
        self.trusted = self._may_trust()

    def now_s(self) -> float:
        """Unix time in seconds, as far as we know it."""
        return self._base_s + (self._boot_s() - self._base_boot_s) * self._rate

    @property
    def certain(self) -> bool:
        """Whether a stamp of now is right, as far as we can tell."""
        return self.trusted and self._behind_s > -JUMP_S

    @property
    def offset_ms(self) -> int:
        """What the time since boot lacks to our time, in ms."""
        return round((self.now_s() - self._boot_s()) * 1000)

    @property
    def is_slewing(self) -> bool:
        """Whether our time runs slow, because the wall clock is behind it."""
        return self._rate != 1.0

    def stay_after(self, floor_s: float, first_boot_s: float = math.inf) -> None:
        """Never stamp at or before `floor_s`, the last stamp of an earlier run, nor shift anything there.

        `first_boot_s`: since boot, the first stamp of an earlier run that is still shifted with ours. Called
        once for each folder that was stamped in; a `floor_s` that is BEHIND_S_MAX ahead does not hold.
        """
        offset_s = self.now_s() - self._boot_s()
        self._floor_s, self._first_s = (
            max(self._floor_s, floor_s),
            min(self._first_s, first_boot_s + offset_s),
        )
        if self.trusted:
            self._keep_floor()

    def _keep_floor(self) -> None:
        """Bring the first stamp behind the floor, and with it our time; `check` lets it run slow then."""
        lacking_s = self._floor_s + STEP_S - self._first_s
        if not 0 < lacking_s <= BEHIND_S_MAX:
            return
        log.warning(
            "the clock is %.1f s behind the newest reading of the run before: our time goes on from there,"
            " and runs slow until the clock is reached",
            lacking_s,
        )
        self._behind_s -= lacking_s
        self._set(self.now_s() + lacking_s, SLOW_RATE)

    def check(self) -> int:
        """Look at the wall clock. The ms that everything stamped while not trusted must be shifted by."""
        self._behind_s = self._wall_s() - self.now_s()
        if not self.trusted:
            return self._follow()
        if self._behind_s > NOTICED_S:
            if self._behind_s > JUMP_S:
                log.warning("the clock jumped ahead by %.1f s: followed", self._behind_s)
            self._set(self.now_s() + self._behind_s, 1.0)
        elif self._behind_s < -NOTICED_S:
            if self._rate == 1.0 and self._behind_s < -JUMP_S:
                log.warning(
                    "the clock was set back by %.1f s: our time runs slow until it is reached",
                    -self._behind_s,
                )
            self._set(self.now_s(), SLOW_RATE)
        elif self._rate != 1.0:
            self._set(self.now_s(), 1.0)
        return 0

    def _follow(self) -> int:
        """Before the clock is trusted: go where the wall clock is, and take what was stamped along."""
        self.trusted = self._may_trust()
        jumped = abs(self._behind_s) > JUMP_S
        if self.trusted:
            log.info("the clock is trusted now; it was off by %.3f s", self._behind_s)
        if not (self.trusted or jumped):
            return 0
        before_s = self.now_s()
        self._set(before_s + self._behind_s, 1.0)
        self._first_s += self._behind_s
        self._behind_s = 0.0
        if self.trusted:
            self._keep_floor()
        return round((self.now_s() - before_s) * 1000)

    def _may_trust(self) -> bool:
        return self._trust == "always" or self._synchronised()

    def _set(self, now_s: float, rate: float) -> None:
        self._base_s, self._base_boot_s, self._rate = now_s, self._boot_s(), rate
