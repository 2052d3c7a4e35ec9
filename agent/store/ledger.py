"""What became of every reading: counted per device and hour, so that nothing is lost unseen.

Rules.
1. One reading is one count, in the hour of its `time_ms`, whenever it was counted.
2. Counting is in memory; what was counted since the last commit goes into the same transaction as the
   readings and the cursors it belongs to. After `kill -9` the ledger says what the log says.
3. What waits is not counted but computed: acquired, less what is known to have become of it.

Accounts: `acquired`; `delivered/UPLINK`, `rejected/UPLINK`; `discarded/RULE/sent`, `discarded/RULE/unsent`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import orjson

from agent.model import HOUR_MS as HOUR_MS  # noqa: PLC0414 - the hour that it counts in
from agent.model import Reading
from agent.store.layout import compressed

HOURS_MAX = 400 * 24  # what the table keeps

Key: TypeAlias = tuple[int, str, str]  # hour, device, account
Deltas: TypeAlias = dict[Key, int]
Counts: TypeAlias = dict[str, dict[str, int]]  # device, account
Load: TypeAlias = Callable[[int, int], Awaitable[Iterable[tuple[int, bytes]]]]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One device in one hour, in readings. `delivered` and `rejected` by uplink, `discarded_*` by rule;
    `discarded_unsent` are those that an uplink still wanted."""

    hour_ms: int
    device: str
    acquired: int = 0
    delivered: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    discarded_sent: Mapping[str, int] = field(default_factory=dict)
    discarded_unsent: Mapping[str, int] = field(default_factory=dict)

    def waiting(self, uplink: str) -> int:
        """What `uplink` has yet to deliver. With several uplinks a lower bound: what was discarded
        before one of them had it counts as gone for all."""
        gone = self.delivered.get(uplink, 0) + self.rejected.get(uplink, 0)
        return max(0, self.acquired - gone - sum(self.discarded_unsent.values()))


class Ledger:
    """The counts; `lock` keeps a commit and a look at the whole apart, `load(from, to)` gives the rows
    of the table with from <= hour < to."""

    def __init__(self, load: Load, lock: asyncio.Lock) -> None:
        self._load, self._lock = load, lock
        self._deltas: Deltas = {}

    def acquired(self, readings: Iterable[Reading]) -> None:
        """`readings` were taken."""
        self._count("acquired", readings)

    def delivered(self, uplink: str, readings: Iterable[Reading]) -> None:
        """`uplink` has brought `readings` to its centre; call it where its progress is moved."""
        self._count(f"delivered/{uplink}", readings)

    def rejected(self, uplink: str, readings: Iterable[Reading]) -> None:
        """The centre of `uplink` will never take `readings`."""
        self._count(f"rejected/{uplink}", readings)

    def discarded(self, rule: str, readings: Iterable[Reading], *, sent: bool) -> None:
        """`rule` cost us `readings`; `sent`: every uplink had them."""
        self._count(discard_account(rule, sent=sent), readings)

    def _count(self, account: str, readings: Iterable[Reading]) -> None:
        deltas = self._deltas
        for group, time_ms, _, _ in readings:
            key = (time_ms // HOUR_MS, group.device.name, account)
            deltas[key] = deltas.get(key, 0) + 1

    def shifted(self, readings: Iterable[Reading], shift_ms: int) -> None:
        """`readings`, counted and not committed, get another time."""
        for group, time_ms, _, _ in readings:
            for at_ms, change in ((time_ms, -1), (time_ms + shift_ms, 1)):
                key = (at_ms // HOUR_MS, group.device.name, "acquired")
                self._deltas[key] = self._deltas.get(key, 0) + change

    def add(self, counts: Mapping[Key, int]) -> None:
        """Count what was counted elsewhere."""
        for key, count in counts.items():
            self._deltas[key] = self._deltas.get(key, 0) + count

    def take(self) -> Deltas:
        """What is not on disk yet; whoever takes it writes it, or gives it back by `add`."""
        deltas, self._deltas = self._deltas, {}
        return deltas

    async def rows(self, from_ms: int, to_ms: int) -> list[LedgerRow]:
        """One row per device and hour that begins in `from_ms` <= time < `to_ms`, in order of both.

        sqlite3.Error if the disk cannot be read.
        """
        first, end = -(-from_ms // HOUR_MS), -(-to_ms // HOUR_MS)
        async with self._lock:
            hours = {hour: unpack(packed) for hour, packed in await self._load(first, end)}
            deltas = {key: count for key, count in self._deltas.items() if first <= key[0] < end}
        for hour, changes in by_hour(deltas).items():
            add_to(hours.setdefault(hour, {}), changes)
        return [
            row_of(hour, device, counts)
            for hour, devices in sorted(hours.items())
            for device, counts in sorted(devices.items())
        ]


def discard_account(rule: str, *, sent: bool) -> str:
    """The account of what `rule` cost."""
    return f"discarded/{rule}/{'sent' if sent else 'unsent'}"


def by_hour(deltas: Mapping[Key, int]) -> dict[int, Counts]:
    """Deltas as the table has them."""
    hours: dict[int, Counts] = {}
    for (hour, device, account), count in deltas.items():
        hours.setdefault(hour, {}).setdefault(device, {})[account] = count
    return hours


def add_to(counts: Counts, changes: Counts) -> None:
    """Add `changes` to `counts`; what comes to nothing leaves no trace."""
    for device, accounts in changes.items():
        own = counts.setdefault(device, {})
        for account, change in accounts.items():
            count = own.get(account, 0) + change
            if count:
                own[account] = count
            else:
                own.pop(account, None)
        if not own:
            del counts[device]


def pack(counts: Counts) -> bytes:
    """A row's bytes."""
    return compressed(orjson.dumps(counts))


def unpack(packed: bytes) -> Counts:
    """What `pack` packed."""
    counts: Counts = orjson.loads(zlib.decompress(packed))
    return counts


def row_of(hour: int, device: str, counts: Mapping[str, int]) -> LedgerRow:
    """The accounts of a device in an hour, by name."""
    by_kind: dict[str, dict[str, int]] = defaultdict(dict)
    for account, count in counts.items():
        kind, _, rest = account.partition("/")
        name, _, sent = rest.rpartition("/") if kind == "discarded" else (rest, "", "")
        by_kind[f"{kind}_{sent}" if sent else kind][name] = count
    return LedgerRow(
        hour * HOUR_MS,
        device,
        by_kind["acquired"].get("", 0),
        by_kind["delivered"],
        by_kind["rejected"],
        by_kind["discarded_sent"],
        by_kind["discarded_unsent"],
    )
