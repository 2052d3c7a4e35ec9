"""How fast an uplink may send: the owner's limits, the centre's, and what refusals teach.

Rules.
1. Limits are token buckets, as the platform has them: an amount in so many seconds, several at once.
2. Of what the centre grants, SHARE is used: its clock is not ours, and others count there too.
3. A refusal for a limit halves the pace that led to it; RECOVERY_S without one doubles it again, and
   beyond what was ever refused there is no limit but the known ones.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from agent.uplink.message import Message

SHARE = 0.8
RECOVERY_S = 120.0
RATE_SPAN_S = 10.0
LEARNED_MIN_PER_S = 0.5
VALUES_MAX = 1_000_000  # of one message, where nothing limits it


class Rate(NamedTuple):
    """At most `amount` in `seconds`."""

    amount: float
    seconds: float


class Limits(NamedTuple):
    """What a centre grants to one session; empty: no limit."""

    messages: tuple[Rate, ...] = ()
    values: tuple[Rate, ...] = ()


NO_LIMITS = Limits()


def per_s(messages: float, values: float) -> Limits:
    """So many a second; 0: no limit."""
    return Limits((Rate(messages, 1.0),) if messages else (), (Rate(values, 1.0),) if values else ())


def rates(text: str | None) -> tuple[Rate, ...]:
    """ThingsBoard's "capacity:seconds,capacity:seconds". ValueError if it is not that."""
    parts = [part.split(":") for part in (text or "").split(",") if part.strip()]
    return tuple(Rate(float(count), float(seconds)) for count, seconds in parts)


class Bucket:
    """Holds up to `rate.amount` tokens, refilled evenly."""

    def __init__(self, rate: Rate, now_s: float) -> None:
        self.capacity = max(1.0, rate.amount)
        self._per_s = max(rate.amount / rate.seconds, 1e-6)
        self._tokens, self._at_s = self.capacity, now_s

    def wait_s(self, count: float, now_s: float) -> float:
        """Seconds until `count` can be taken; what is more than it holds can when it is full."""
        tokens = min(self.capacity, self._tokens + (now_s - self._at_s) * self._per_s)
        return max(0.0, (min(count, self.capacity) - tokens) / self._per_s)

    def take(self, count: float, now_s: float) -> None:
        """Take `count`, even if that leaves a debt."""
        self._tokens = min(self.capacity, self._tokens + (now_s - self._at_s) * self._per_s) - count
        self._at_s = now_s


class Pace:
    """Says which messages may go now. `limits()` is asked at every turn: a session may grant others."""

    def __init__(
        self,
        own: Limits = NO_LIMITS,
        limits: Callable[[], Limits] = lambda: NO_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own, self._limits, self._clock = own, limits, clock
        self._known = NO_LIMITS
        self._messages = self._values = ()  # type: tuple[Bucket, ...]
        self._sent: deque[tuple[float, int]] = deque(maxlen=1000)
        self._learned_per_s = math.inf
        self._learned_s = 0.0
        self._learned: Bucket | None = None
        self._build()

    @property
    def learned_per_s(self) -> float:
        """Messages a second that refusals have taught; infinite if none did."""
        return self._learned_per_s

    @property
    def values_max(self) -> int:
        """Values that one message may have."""
        return int(min((bucket.capacity for bucket in self._values), default=VALUES_MAX))

    def _build(self) -> None:
        now_s = self._clock()
        granted = [tuple(Rate(count * SHARE, s) for count, s in rates) for rates in self._known]
        self._messages = tuple(Bucket(rate, now_s) for rate in (*self._own.messages, *granted[0]))
        self._values = tuple(Bucket(rate, now_s) for rate in (*self._own.values, *granted[1]))

    def take(self, pending: deque[Message]) -> list[Message]:
        """The first of `pending` that may go now; they leave it, and count as sent."""
        self._renew()
        taken: list[Message] = []
        if not (self._messages or self._values or self._learned):
            taken += pending
            pending.clear()
        while pending and self._wait_s(pending[0]) <= 0:
            taken.append(pending.popleft())
            self._spend(1, taken[-1].values)
        if taken:
            self._sent.append((self._clock(), len(taken)))
        return taken

    def spend(self, messages: int) -> None:
        """These go now, whatever the limit; what follows waits for them."""
        self._spend(messages, 0)

    def _spend(self, messages: int, values: int) -> None:
        now_s = self._clock()
        for bucket in self._message_buckets:
            bucket.take(messages, now_s)
        for bucket in self._values:
            bucket.take(values, now_s)

    @property
    def _message_buckets(self) -> tuple[Bucket, ...]:
        return (*self._messages, self._learned) if self._learned else self._messages

    def wait_s(self, pending: deque[Message]) -> float:
        """Seconds until the first of `pending` may go."""
        return self._wait_s(pending[0]) if pending else 0.0

    def _wait_s(self, message: Message) -> float:
        now_s = self._clock()
        waits = [bucket.wait_s(1, now_s) for bucket in self._message_buckets]
        waits += [bucket.wait_s(message.values, now_s) for bucket in self._values]
        return max(waits, default=0.0)

    def _renew(self) -> None:
        if (limits := self._limits()) != self._known:
            self._known = limits
            self._build()
        if self._learned and self._clock() - self._learned_s > RECOVERY_S:
            self._learn(self._learned_per_s * 2)

    # ---------------------------------------------------------------- what refusals teach

    def refused(self) -> None:
        """The centre refused for a limit."""
        since_s = self._clock() - RATE_SPAN_S
        recent = [(at_s, count) for at_s, count in self._sent if at_s >= since_s]
        span_s = max(1.0, self._clock() - recent[0][0]) if recent else 1.0
        rate = sum(count for _, count in recent) / span_s
        self._top_per_s = max(rate, LEARNED_MIN_PER_S)
        self._learn(max(LEARNED_MIN_PER_S, min(rate, self._learned_per_s) / 2))

    def _learn(self, per_s: float) -> None:
        self._learned_s = self._clock()
        if per_s > 2 * self._top_per_s:
            self._learned_per_s, self._learned = math.inf, None
            return
        self._learned_per_s = per_s
        self._learned = Bucket(Rate(per_s, 1.0), self._clock())

    _top_per_s = 0.0
