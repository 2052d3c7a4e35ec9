"""What the fake can be told to do, and its rate limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Record = Callable[[str, int, dict], bool]
Message = Callable[[str, bytes], bool]


def _none(*_: object) -> bool:
    return False


@dataclass
class Limits:
    """`"capacity:seconds,..."` of each bucket as in a tenant profile; "" is unlimited.

    `own_*` meters the gateway's own topics, `gateway_*` all its sub-devices together.
    """

    own_messages: str = ""
    own_telemetry_messages: str = ""
    own_data_points: str = ""
    gateway_messages: str = ""
    gateway_telemetry_messages: str = ""
    gateway_data_points: str = ""


@dataclass
class Behaviour:
    """Fields may be changed at any time; they hold from the next packet on.

    A `Record` predicate judges (device, ts, values), a `Message` predicate (topic, payload).
    """

    release: Literal["4.3", "4.1", "3.6"] = "4.3"
    mqtt5: Literal["granted", "refused", "hang up", "silent"] = "granted"
    payload_bytes_max: int = 65_536
    one_session_per_token: bool = True
    limits: Limits = field(default_factory=Limits)
    answers_session_limits: bool = True

    refused_filters: set[str] = field(default_factory=set)  # of subscriptions, beside all unknown ones

    # What becomes of a message.
    refused_devices: dict[str, int] = field(default_factory=dict)  # cannot be made: 0x80, 0x97 (limit)
    unqueued: Record = _none  # another queueing error: 0x80, closed
    poison: Record = _none  # does not convert: 0x99 (MQTT 5) or closed (3.1.1)
    poison_closes: bool = False  # ... closed on 5 too, with DISCONNECT 0x8B
    lost_after_puback: Record = _none  # acknowledged, then dropped by the rule engine
    not_a_number: Literal["text", "refused"] = "text"

    # What becomes of its PUBACK.
    withhold_puback: Message = _none  # stored, never acknowledged
    duplicate_pubacks: int = 0  # so many more of each
    shuffle_pubacks: int = 0  # so many are gathered and sent in a random order
    puback_delay_s: float = 0.0

    # The link.
    silent: bool = False  # everything stands still, as after SIGSTOP
    read_bytes_s: float = 0.0  # a slow link; 0: as fast as it goes
    dribble: bool = False  # the server's bytes leave one by one (new connections)

    subdevice_session_s: float = 600.0
    own_session_s: float = 600.0  # without any packet
    provisioning: dict[tuple[str, str], str] = field(default_factory=dict)  # (key, secret): device profile


class Bucket:
    """Token buckets of one limit, refilled greedily: `"20:1,600:60"`. All must have the tokens."""

    def __init__(self, text: str, clock: Callable[[], float]) -> None:
        self.text, self._clock = text, clock
        pairs = [part.split(":") for part in text.split(",") if part]
        self._limits = [(float(capacity), float(seconds)) for capacity, seconds in pairs]
        self._tokens = [capacity for capacity, _ in self._limits]
        self._at_s = clock()

    def take(self, count: int = 1) -> bool:
        """Whether there were `count` tokens; if not, none is taken."""
        now_s = self._clock()
        passed_s, self._at_s = now_s - self._at_s, now_s
        for at, (capacity, seconds) in enumerate(self._limits):
            self._tokens[at] = min(capacity, self._tokens[at] + passed_s * capacity / seconds)
        if any(tokens < count for tokens in self._tokens):
            return False
        self._tokens = [tokens - count for tokens in self._tokens]
        return True


class Meter:
    """The buckets of `Limits`, made anew when a limit is changed."""

    def __init__(self, behaviour: Behaviour, clock: Callable[[], float]) -> None:
        self._behaviour, self._clock = behaviour, clock
        self._buckets: dict[str, Bucket] = {}
        self.rejections = 0

    def take(self, name: str, count: int = 1) -> bool:
        text = getattr(self._behaviour.limits, name)
        bucket = self._buckets.get(name)
        if bucket is None or bucket.text != text:
            bucket = self._buckets[name] = Bucket(text, self._clock)
        taken = bucket.take(count)
        self.rejections += not taken
        return taken

    def telemetry(self, scope: str, points: int) -> bool:
        """A message with `points` data points, for `scope` "own" or "gateway"."""
        return self.take(f"{scope}_telemetry_messages") and self.take(f"{scope}_data_points", points)
