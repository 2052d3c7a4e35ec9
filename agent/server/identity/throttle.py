"""Making guesses slow: after a few failures each further one costs a longer wait.

Rules. One `Throttle` counts one sort of key (accounts, or peers). A try that had to wait is refused
without being judged, so waiting tries do not lengthen the wait. Memory is bounded: the key that failed
longest ago is forgotten first.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

FREE_FAILURES = 5
FORGET_S = 900.0
KEYS_MAX = 4096


class _Record(NamedTuple):
    failures: int
    last_s: float
    free_s: float


class Throttle:
    """`most_s` is the longest wait; `clock` counts seconds and never goes back.

    Failures are forgotten `forget_s` after the last one; longer than `most_s`, or waiting would forgive.
    """

    def __init__(
        self, most_s: float, clock: Callable[[], float] = time.monotonic, *, forget_s: float = FORGET_S
    ) -> None:
        self._most_s, self._clock, self._forget_s = most_s, clock, forget_s
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def wait_s(self, key: str) -> float:
        """Seconds until `key` may try again, 0 if it may now."""
        record = self._records.get(key)
        return max(0.0, record.free_s - self._clock()) if record else 0.0

    def failed(self, key: str) -> None:
        """`key` has tried and failed."""
        now = self._clock()
        record = self._records.pop(key, None)
        failures = record.failures + 1 if record and now - record.last_s < self._forget_s else 1
        wait_s = (
            min(self._most_s, 2.0 ** min(failures - FREE_FAILURES, 30)) if failures >= FREE_FAILURES else 0
        )
        self._records[key] = _Record(failures, now, now + wait_s)
        if len(self._records) > KEYS_MAX:
            self._records.popitem(last=False)

    def forgive(self, key: str) -> None:
        """`key` has succeeded: its failures were slips."""
        self._records.pop(key, None)


def peer_key(address: str | None) -> str:
    """What counts as one peer: an IPv4 address, or the /64 that an IPv6 host can pick addresses from."""
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
