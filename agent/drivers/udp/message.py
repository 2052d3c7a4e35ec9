"""What modules and gateway tell each other, whatever form it travels in. See docs/udp-protocol.md."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agent.model import NAN

DATAGRAM_BYTES_MAX = 8192
NUMBER_MAX = 2**32 - 1  # of boot ids, sequence numbers and samples
AGE_MS_MAX = 2**32 - 1
VALID_S_MAX = 65_535
SAMPLES_MAX = 255

Address = tuple[Any, ...]  # as the socket module has it
# Number, age in ms at sending, quality (0 bad, 1 uncertain, 2 good), then a value for each point.
Sample = tuple[Any, ...]
Clean = Callable[[Sequence[float]], Sequence[float]]


class Form(enum.Enum):
    """How a module writes; it is answered likewise."""

    PACKED = "packed"
    JSON = "json"


class Data(NamedTuple):
    """Samples of a module. `unix_ms` is its clock at sending, 0 if it has none that is right.

    `oldest` is the first sample that it could still send; `valid_s` is how long the values stand without
    news, 0 if it does not say; `wants_ack` says that it listens; `clean` makes its numbers ours.
    """

    boot: int
    seq: int
    oldest: int
    unix_ms: int
    valid_s: int
    wants_ack: bool
    samples: Sequence[Sample]
    clean: Clean = tuple


class Ack(NamedTuple):
    """What of the samples came. Answers the datagram `seq` of `boot`.

    All samples below `safe` are kept: forget them. All below `complete` came: do not send them again.
    From there on `bits` says which came: bit i % 8 of byte i // 8 stands for `complete + i`.
    """

    boot: int
    seq: int
    safe: int
    complete: int
    bits: bytes


class Command(NamedTuple):
    """Write `value` to point number `point` (in the order of the layout). `id` only grows."""

    boot: int
    id: int
    point: int
    value: float


class Status(enum.IntEnum):
    """What became of a command."""

    DONE = 0
    NO_SUCH_POINT = 1
    BAD_VALUE = 2
    FAILED = 3
    OTHER_BOOT = 4
    OLD = 5


class Result(NamedTuple):
    """A module's answer to the command `id`; `value` is what the point has now, NaN if it cannot tell."""

    boot: int
    id: int
    status: int
    value: float = math.nan


def finite(values: Sequence[float]) -> Sequence[float]:
    """`values` with NaN (not available) for what is infinite."""
    if math.isfinite(sum(values)):
        return values
    return [value if math.isfinite(value) else NAN for value in values]


class Now(NamedTuple):
    """Unix time in ms for stamps, right as far as we know if `certain`; monotonic seconds for distances."""

    unix_ms: int
    s: float
    certain: bool = True


class Reply(NamedTuple):
    data: bytes
    address: Address
