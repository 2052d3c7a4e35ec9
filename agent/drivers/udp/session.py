"""What is known of a module, and of each key that it signs with. Pure state: no clock, no socket.

Rules.
1. A datagram is taken once: its boot must not be older than the newest of its key, and its sequence
   number must be new to the window of that boot.
2. Nothing is published of a datagram whose number is above `limit`: the ledger on disk says that, after
   a restart, nothing up to `limit` is taken again. So whatever was published can never be replayed.
3. The limit runs ahead of the module by what it sends in AHEAD_S, so that the disk is written every few
   seconds, not for every datagram.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from agent.drivers.udp.keys import Key
from agent.drivers.udp.ledger import Mark
from agent.drivers.udp.message import Ack, Address, Form, Result
from agent.drivers.udp.options import UdpDeviceOptions, UdpProfile
from agent.drivers.udp.packed import ACK_BITMAP_BYTES_MAX, Layout
from agent.drivers.udp.refusal import Refused
from agent.drivers.udp.window import WINDOW, ReplayWindow, SampleRecord, Verdict
from agent.model import Device, Group
from agent.supervise import Episode

log = logging.getLogger(__name__)

AHEAD_S = 5.0
AHEAD_MIN = 2
AHEAD_MAX = 65_536
PACE_S = 1.0
TOO_FAR = 2
UNSIGNED_RECENT = 64
UNSIGNED_RECENT_S = 2.0  # a network's doubles come sooner; a module that restarts counts from 1 again
NO_BOOT = -1


class Waiting(Protocol):
    """A command under way to a module."""

    def heard(self) -> None:
        """The module just sent something, so it listens now."""

    def answered(self, result: Result) -> bool:
        """The module says what became of a command; False if it is not this one."""


class Module:
    """One module: its points, its counters, and what it is waited for."""

    def __init__(self, options: UdpDeviceOptions, profile: UdpProfile) -> None:
        declared = profile.group[0]
        device = Device(options.name, options.profile, options.label)
        self.options = options
        self.id = options.id or options.name
        points = tuple(point.point(options.fallback.get(point.name)) for point in declared.point)
        self.group = Group(device, declared.name, points, 0)
        self.points = declared.point
        self.keys = profile.keys
        self.layout = Layout.of(profile.keys)
        self.single, self.double = self.layout.single, self.layout.double
        self.index = {key: at for at, key in enumerate(profile.keys)}
        self.counters: Counter[str] = Counter()
        self.datagrams = 0  # that were used
        self.newest_unix_ms = 0  # by its own clock, looked at while ours may be wrong
        self.trouble = Episode(log, f"device {options.name}")
        self.unknown_key = Episode(log, f"device {options.name}")
        self.sessions: Sequence[Session] = ()  # one for each key
        self.session: Session | None = None  # the one that it used last
        self.waiting: Waiting | None = None
        self.heard_s = self.told_s = 0.0  # when it, or its silence, was last published
        self.valid_s = 0  # how long it says that its values stand; 0: as configured
        self._recent: deque[tuple[int, int, float]] = deque(maxlen=UNSIGNED_RECENT)

    def is_repeated(self, seq: int, ts: int, now_s: float) -> bool:
        """Whether this unsigned datagram came a moment ago; if not, it is remembered."""
        while self._recent and now_s - self._recent[0][2] > UNSIGNED_RECENT_S:
            self._recent.popleft()
        if any((seq, ts) == known[:2] for known in self._recent):
            return True
        self._recent.append((seq, ts, now_s))
        return False


class _Pace(NamedTuple):
    """How many datagrams a second, measured when `seq` was the newest."""

    hz: float
    seq: int
    since_s: float


class Session:
    """What came from a module under one key."""

    def __init__(self, module: Module, key: Key) -> None:
        self.module, self.key, self.tag = module, key, key.tag
        self.boot = NO_BOOT
        self.window = ReplayWindow()
        self.record = SampleRecord(0)
        self.limit = self.renew_at = NO_BOOT
        self.address: Address | None = None
        self.form = Form.PACKED
        self._safe = self._ripening = 0
        self._pace = _Pace(0.0, 0, -math.inf)

    def restore(self, mark: Mark) -> None:
        """Go on where the ledger left off: all up to the limit counts as seen."""
        self.boot = mark.boot
        self.window = ReplayWindow(mark.limit)
        self.record = SampleRecord(mark.settled, resumed=True)
        self._safe = self._ripening = mark.settled

    def admit(self, boot: int, seq: int, oldest: int) -> Verdict:
        """NEW or LATE: this datagram is used now, and never again. Refused otherwise."""
        if boot != self.boot:
            if boot < self.boot:
                raise Refused("old_boot", f"boot {boot} of {self.module.id!r} came after boot {self.boot}")
            self._start(boot, seq, oldest)
        verdict = self.window.take(seq)
        if verdict is Verdict.REPEATED or verdict is Verdict.STALE:
            highest = self.window.highest
            text = f"seq {seq} of {self.module.id!r}, boot {boot}, came before or is too old (now {highest})"
            raise Refused(verdict.value, text)
        return verdict

    def _start(self, boot: int, seq: int, oldest: int) -> None:
        """Begin with a boot that is newer than all before."""
        self.boot = boot
        self.window = ReplayWindow.opened_by(seq)
        self.limit = self.renew_at = NO_BOOT
        self._pace = _Pace(0.0, seq, -math.inf)
        # A module that changes its key goes on counting.
        same = [each.record for each in self.module.sessions if each.boot == boot and each is not self]
        # Numbers begin at 1: a module that is heard from its start has no samples before.
        self.record = same[0] if same else SampleRecord(min(oldest, 1) if oldest <= WINDOW else oldest)
        self._safe = self._ripening = self.record.base

    def ask(self, now_s: float) -> Mark:
        """What should be on disk: a limit as far ahead as the module's pace asks for."""
        limit = self.window.highest + self._ahead(now_s)
        self._measure(now_s)
        # Lowered at once: whichever of the two limits is on disk by then, nothing above it is published.
        self.limit = min(self.limit, limit)
        self.renew_at = min(self.renew_at, self.limit)
        return Mark(self.boot, limit, self.record.base)

    def _ahead(self, now_s: float) -> int:
        return max(AHEAD_MIN, min(math.ceil(self._pace_hz(now_s) * AHEAD_S), AHEAD_MAX))

    def _pace_hz(self, now_s: float) -> float:
        """Datagrams a second since the last measurement; within PACE_S of it, not less than it was."""
        if self._pace.since_s == -math.inf:
            return 0.0
        elapsed_s = now_s - self._pace.since_s
        came = self.window.highest - self._pace.seq
        if elapsed_s >= PACE_S:
            return came / elapsed_s
        return max(self._pace.hz, (came - 1) / max(elapsed_s, PACE_S / 2))  # one alone has no pace

    def _measure(self, now_s: float) -> None:
        if now_s - self._pace.since_s >= PACE_S:
            self._pace = _Pace(self._pace_hz(now_s), self.window.highest, now_s)

    def exact(self) -> Mark:
        """What should be on disk when nothing more is taken."""
        return Mark(self.boot, self.window.highest, self.record.base)

    def kept(self, mark: Mark) -> None:
        """`mark` is on disk."""
        if mark.boot == self.boot:
            self.limit = mark.limit
            self.renew_at = mark.limit - max(1, (mark.limit - self.window.highest) // 2)

    def tick(self, now_s: float) -> bool:
        """Once per SAFE_AFTER_S: what was published before the last call has reached the store's disk.

        True if a burst was taken for a pace: a kill now would cost the module that many datagrams.
        """
        self._safe, self._ripening = self._ripening, self.record.base
        self._measure(now_s)
        return self.limit - self.window.highest > TOO_FAR * self._ahead(now_s)

    def ack(self, seq: int) -> Ack:
        """The answer to datagram `seq`."""
        return Ack(self.boot, seq, self._safe, self.record.base, self.record.bits(ACK_BITMAP_BYTES_MAX))
