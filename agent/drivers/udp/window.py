"""What has come already: datagrams by their sequence number, samples by theirs. Pure.

Two numberings, two purposes. Every datagram that is sent, also one that repeats samples, has a new
`seq`: the window over it makes a replayed datagram worthless. Every sample keeps its `number` for as
long as it is sent: the record over it keeps a sample from being published twice, and tells the module
what to send again.
"""

from __future__ import annotations

import enum

WINDOW = 64
FULL = (1 << WINDOW) - 1
SPAN_SAMPLES_MAX = 16_384  # between the oldest sample that is missing and the newest


class Verdict(enum.Enum):
    """On a datagram, by its sequence number."""

    NEW = "new"
    LATE = "reordered"
    REPEATED = "repeated"
    STALE = "stale"


class ReplayWindow:
    """Takes each sequence number at most once: bit i of `mask` stands for `highest - i` (RFC 4303, 3.4.3).

    A number behind the window could be an old one and is refused. `lost` counts the numbers that left
    the window without having come.
    """

    __slots__ = ("highest", "lost", "mask")

    def __init__(self, highest: int = 0, mask: int = FULL) -> None:
        self.highest, self.mask, self.lost = highest, mask, 0

    @classmethod
    def opened_by(cls, seq: int) -> ReplayWindow:
        """Of a boot that is first heard of with `seq`: what the module sent earlier in it may still come.

        Beyond the first WINDOW datagrams of a boot we were not listening: those before are not missed.
        """
        return cls(seq - 1, (1 << WINDOW) - (1 << max(seq - 1, 0)) if seq <= WINDOW else FULL)

    def judge(self, seq: int) -> Verdict:
        """What `take` would say; changes nothing."""
        behind = self.highest - seq
        if behind < 0:
            return Verdict.NEW
        if behind >= WINDOW:
            return Verdict.STALE
        return Verdict.REPEATED if self.mask >> behind & 1 else Verdict.LATE

    def take(self, seq: int) -> Verdict:
        """Whether the datagram may be used (NEW or LATE); if so, never again."""
        ahead = seq - self.highest
        if ahead == 1 and self.mask == FULL:
            self.highest = seq
            return Verdict.NEW
        verdict = self.judge(seq)
        if verdict is Verdict.NEW:
            self._slide(ahead)
        elif verdict is Verdict.LATE:
            self.mask |= 1 << -ahead
        return verdict

    def _slide(self, ahead: int) -> None:
        inside = min(ahead, WINDOW)
        self.lost += ahead - (self.mask >> (WINDOW - inside)).bit_count()
        self.mask = ((self.mask << inside) | 1) & FULL
        self.highest += ahead


class SampleRecord:
    """All samples below `base` are settled (published, or given up); bit i of `mask`: `base + i` came.

    `lost` counts those given up.
    """

    __slots__ = ("base", "lost", "mask", "resumed")

    def __init__(self, base: int, *, resumed: bool = False) -> None:
        self.base, self.mask, self.lost = base, 0, 0
        self.resumed = resumed  # from disk: what settled after the last write was not lost

    @property
    def newest(self) -> int:
        """The highest number that came, or `base - 1`."""
        return self.base + self.mask.bit_length() - 1

    def take(self, number: int) -> bool:
        """Whether this sample is to be published: it never came before and was not given up."""
        at = number - self.base
        if at == 0 and not self.mask:
            self.base += 1
            return True
        if at < 0 or self.mask >> at & 1:
            return False
        if at >= SPAN_SAMPLES_MAX:
            self.give_up_before(number - SPAN_SAMPLES_MAX + 1)
            at = number - self.base
        self.mask |= 1 << at
        self._settle()
        return True

    def give_up_before(self, number: int) -> None:
        """Wait no longer for samples below `number`."""
        skipped = number - self.base
        if skipped <= 0:
            return
        within = min(skipped, SPAN_SAMPLES_MAX)
        if not self.resumed:
            self.lost += skipped - (self.mask & ((1 << within) - 1)).bit_count()
        self.resumed = False
        self.mask >>= within
        self.base = number
        self._settle()

    def _settle(self) -> None:
        ones = (~self.mask & (self.mask + 1)).bit_length() - 1
        self.base += ones
        self.mask >>= ones

    def bits(self, bytes_max: int) -> bytes:
        """Which came from `base` on: bit i % 8 of byte i // 8 stands for `base + i`. No zeros at the end."""
        cut = self.mask & ((1 << 8 * bytes_max) - 1)
        return cut.to_bytes((cut.bit_length() + 7) // 8, "little")
