"""How fast an uplink may send: the owner's limits, the centre's, and what refusals teach.

Rules.
1. Limits are token buckets, as the platform has them: an amount in so many seconds, several at once.
2. Of what the centre grants, SHARE is used: its clock is not ours, and others count there too.
3. A refusal for a limit halves the pace that led to it, in messages and in values, as it does not say which
   were too many; RECOVERY_S without one doubles it again, and beyond what was ever refused there is no
   limit but the known ones.
4. What a message may hold is what the tightest limit of values has room for: one that is larger would be
   refused for ever.
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
MESSAGES_MIN_PER_S, VALUES_MIN_PER_S = 0.5, 1.0  # what refusals teach at most
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


class Learned:
    """A rate that refusals teach: `per_s` is infinite until the first."""

    def __init__(self) -> None:
        self._refused_per_s = 0.0  # the rate that was refused last
        self._at_s = 0.0
        self.per_s = math.inf
        self.bucket: tuple[Bucket, ...] = ()

    def refused(self, rate_per_s: float, least_per_s: float, now_s: float) -> None:
        """Refused at this rate; not to go below the least."""
        self._refused_per_s = max(rate_per_s, least_per_s)
        self._set(max(least_per_s, min(rate_per_s, self.per_s) / 2), now_s)

    def renew(self, now_s: float) -> None:
        """Try more if there was no refusal for RECOVERY_S."""
        if self.bucket and now_s - self._at_s > RECOVERY_S:
            self._set(self.per_s * 2, now_s)

    def _set(self, per_s: float, now_s: float) -> None:
        beyond = per_s > 2 * self._refused_per_s
        self._at_s = now_s
        self.per_s = math.inf if beyond else per_s
        self.bucket = () if beyond else (Bucket(Rate(per_s, 1.0), now_s),)


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
        self._known_messages = self._known_values = ()  # type: tuple[Bucket, ...]
        self._sent: deque[tuple[float, list[int]]] = deque(maxlen=1000)  # when, values of each message
        self._messages_learned = Learned()
        self._values_learned = Learned()
        self._build()

    @property
    def learned_per_s(self) -> float:
        """Messages a second that refusals have taught; infinite if none did."""
        return self._messages_learned.per_s

    @property
    def values_max(self) -> int:
        """Values that one message may have."""
        return int(min((bucket.capacity for bucket in self._values), default=VALUES_MAX))

    def _build(self) -> None:
        now_s = self._clock()
        granted = [tuple(Rate(count * SHARE, s) for count, s in rates) for rates in self._known]
        self._known_messages = tuple(Bucket(rate, now_s) for rate in (*self._own.messages, *granted[0]))
        self._known_values = tuple(Bucket(rate, now_s) for rate in (*self._own.values, *granted[1]))

    @property
    def _messages(self) -> tuple[Bucket, ...]:
        return self._known_messages + self._messages_learned.bucket

    @property
    def _values(self) -> tuple[Bucket, ...]:
        return self._known_values + self._values_learned.bucket

    def take(self, pending: deque[Message]) -> list[Message]:
        """The first of `pending` that may go now; they leave it, and count as sent."""
        self._renew()
        taken: list[Message] = []
        if not (self._messages or self._values):
            taken += pending
            pending.clear()
        while pending and self._wait_s(pending[0]) <= 0:
            taken.append(pending.popleft())
            self._spend(1, taken[-1].values)
        if taken:
            self._sent.append((self._clock(), [message.values for message in taken]))
        return taken

    def spend(self, messages: int) -> None:
        """These go now, whatever the limit; what follows waits for them."""
        self._spend(messages, 0)

    def _spend(self, messages: int, values: int) -> None:
        now_s = self._clock()
        for bucket in self._messages:
            bucket.take(messages, now_s)
        for bucket in self._values:
            bucket.take(values, now_s)

    def wait_s(self, pending: deque[Message]) -> float:
        """Seconds until the first of `pending` may go."""
        return self._wait_s(pending[0]) if pending else 0.0

    def _wait_s(self, message: Message) -> float:
        now_s = self._clock()
        waits = [bucket.wait_s(1, now_s) for bucket in self._messages]
        waits += [bucket.wait_s(message.values, now_s) for bucket in self._values]
        return max(waits, default=0.0)

    def _renew(self) -> None:
        if (limits := self._limits()) != self._known:
            self._known = limits
            self._build()
        self._messages_learned.renew(self._clock())
        self._values_learned.renew(self._clock())

    # ---------------------------------------------------------------- what refusals teach

    def refused(self) -> None:
        """The centre refused for a limit."""
        now_s = self._clock()
        recent = [sent for sent in self._sent if sent[0] >= now_s - RATE_SPAN_S]
        span_s = max(1.0, now_s - recent[0][0]) if recent else 1.0
        sizes = [size for _, each in recent for size in each]
        self._messages_learned.refused(len(sizes) / span_s, MESSAGES_MIN_PER_S, now_s)
        self._values_learned.refused(sum(sizes) / span_s, VALUES_MIN_PER_S, now_s)
