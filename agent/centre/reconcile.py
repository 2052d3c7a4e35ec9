"""Does the centre hold what the ledger says was delivered? A PUBACK is not storage.

Rules.
1. Counted in two steps. First, cheaply: of each group one point's rows, page by page, by hour. Where that
   is short of the ledger, exactly: the times that are here and have at least one value (what is not
   available is never sent) against the times that are there under any point of their group.
2. The ledger is read before the centre is asked, and what is short is looked at again `SETTLE_S` later:
   what was delivered before is stored by then, and what came meanwhile can only add.
3. An hour is `hour_ms <= time < hour_ms + HOUR_MS`, here and there. What is late counts in its own hour.
4. What the centre no longer keeps is not missing, and what is no longer here cannot be sent again: both are
   said, neither is handed to `requeue`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple, Protocol

from agent.centre.client import Rest, RestError
from agent.centre.wanted import AGENT_DEVICE
from agent.model import Group, Reading
from agent.uplink.payload import says_something

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
PAGE_ROWS = 5000
SETTLE_S = 3.0

Status = Literal["well", "missing", "gone", "expired", "unknown"]
Here = Callable[[str, int, int], Awaitable[Mapping[Group, AbstractSet[int]]]]
Requeue = Callable[[str, str, int, int], Awaitable[None]]
History = Callable[[Collection[str], int, int], AsyncIterable[Sequence[Reading]]]


class Row(Protocol):
    """One device in one hour, as the ledger has it, in readings."""

    @property
    def hour_ms(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def acquired(self) -> int: ...
    @property
    def delivered(self) -> Mapping[str, int]: ...
    def waiting(self, uplink: str) -> int: ...


class Claim(NamedTuple):
    """What the ledger says: so many readings of a device in an hour were delivered, so many wait."""

    device: str
    hour_ms: int
    delivered: int
    waiting: int = 0


class Verdict(NamedTuple):
    """What the centre says to a claim. `missing` readings are not there: handed to be sent again
    (`missing`), or no longer here (`gone`). `unknown`: nobody here knows the
    points of the device any more."""

    device: str
    hour_ms: int
    delivered: int
    stored: int
    missing: int
    status: Status


class Site(NamedTuple):
    """What `reconcile` must know of this box. `here(device, from_ms, to_ms)`: the times of the readings
    with at least one value that are still here; `requeue(uplink, device, from_ms, to_ms)`: send again."""

    uplink: str
    gateway: str
    groups: Mapping[str, Sequence[Group]]
    here: Here
    requeue: Requeue


def claims_of(rows: Iterable[Row], uplink: str) -> list[Claim]:
    """What the ledger says of an uplink. What was sent twice was delivered twice, and is stored once."""
    return [
        Claim(row.device, row.hour_ms, min(row.acquired, delivered), row.waiting(uplink))
        for row in rows
        if (delivered := row.delivered.get(uplink, 0)) > 0
    ]


def here_in(history: History, groups: Mapping[str, Sequence[Group]]) -> Here:
    """The times in a store. `history(points, from_ms, to_ms)` gives readings in steps."""

    async def here(device: str, from_ms: int, to_ms: int) -> dict[Group, set[int]]:
        points = {point for group in groups.get(device, ()) for point in group.point_ids}
        times: dict[Group, set[int]] = {}
        async for step in history(points, from_ms, to_ms):
            for reading in step:
                own = times.setdefault(reading.group, set())
                if says_something(reading):
                    own.add(reading.time_ms)
        return times

    return here


async def reconcile(
    rest: Rest,
    site: Site,
    claims: Iterable[Claim],
    *,
    kept_from_ms: int = 0,
    settle_s: float = SETTLE_S,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[Verdict]:
    """A verdict for each claim of something, by device and hour. The centre keeps what is from
    `kept_from_ms` on. RestError when it cannot be asked; what was requeued by then stays so."""
    verdicts: list[Verdict] = []
    short: list[tuple[str | None, Claim]] = []
    for device, own in _by_device(claims).items():
        kept = [claim for claim in own if claim.hour_ms >= kept_from_ms]
        verdicts += [_verdict(claim, "expired") for claim in own if claim.hour_ms < kept_from_ms]
        if not kept:
            continue
        device_id = await _device_id(rest, site.gateway if device == AGENT_DEVICE else device)
        counts = await _counts(rest, device_id, site.groups.get(device, ()), kept)
        for claim in kept:
            stored = counts[claim.hour_ms]
            if stored < claim.delivered:
                short.append((device_id, claim))
            else:
                verdicts.append(_verdict(claim, "well", stored))
    if short:
        await sleep(settle_s)
    verdicts += [await _exact(rest, site, device_id, claim) for device_id, claim in short]
    return sorted(verdicts)


def _verdict(claim: Claim, status: Status, stored: int = 0, missing: int = 0) -> Verdict:
    return Verdict(claim.device, claim.hour_ms, claim.delivered, stored, missing, status)


def _by_device(claims: Iterable[Claim]) -> dict[str, list[Claim]]:
    devices: dict[str, list[Claim]] = defaultdict(list)
    for claim in sorted(claims):
        if claim.delivered > 0:
            devices[claim.device].append(claim)
    return devices


async def _device_id(rest: Rest, name: str) -> str | None:
    """None: there is no such device, so nothing of it."""
    found = await rest.find("/api/tenant/devices", {"deviceName": name})
    return None if found is None else str(found["id"]["id"])


async def _counts(
    rest: Rest, device_id: str | None, groups: Sequence[Group], claims: Sequence[Claim]
) -> Counter[int]:
    """Rows by hour, of one point of each group: at least so many readings are there."""
    counts: Counter[int] = Counter()
    for from_ms, to_ms in _spans(claim.hour_ms for claim in claims) if device_id else ():
        for group in groups:
            async for time_ms in _times(rest, str(device_id), group.points[0].name, from_ms, to_ms):
                counts[time_ms - time_ms % HOUR_MS] += 1
    return counts


def _spans(hours_ms: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Hours in order, those that follow each other as one span."""
    from_ms = to_ms = None
    for hour_ms in hours_ms:
        if hour_ms != to_ms:
            if from_ms is not None and to_ms is not None:
                yield from_ms, to_ms
            from_ms = hour_ms
        to_ms = hour_ms + HOUR_MS
    if from_ms is not None and to_ms is not None:
        yield from_ms, to_ms


async def _exact(rest: Rest, site: Site, device_id: str | None, claim: Claim) -> Verdict:
    """The times that are here against those that are there; what is not there is requeued."""
    end_ms = claim.hour_ms + HOUR_MS
    here = await site.here(claim.device, claim.hour_ms, end_ms)
    missing: list[int] = []
    stored = 0
    for group, times in here.items():
        there = await _times_there(rest, device_id, group, times, (claim.hour_ms, end_ms))
        stored += len(there)
        missing += times - there
    if len(missing) > claim.waiting:  # what waits is not there either, and need not be requeued
        await site.requeue(site.uplink, claim.device, min(missing), max(missing) + 1)
        return _verdict(claim, "missing", stored, len(missing) - claim.waiting)
    if not here and claim.device not in site.groups:
        return _verdict(claim, "unknown")
    if not any(here.values()):  # sent, not there, and not here any more to compare: only counts are left
        counts = await _counts(rest, device_id, site.groups.get(claim.device, ()), [claim])
        stored = counts[claim.hour_ms]
        lost = max(0, claim.delivered - stored)
        return _verdict(claim, "gone" if lost else "well", stored, lost)
    return _verdict(claim, "well", stored)


async def _times_there(
    rest: Rest, device_id: str | None, group: Group, wanted: AbstractSet[int], span: tuple[int, int]
) -> set[int]:
    """Times with a row under any point of the group; asked point by point until all wanted are found."""
    there: set[int] = set()
    for point in group.points if device_id else ():
        there.update([time_ms async for time_ms in _times(rest, str(device_id), point.name, *span)])
        if wanted <= there:
            break
    return there


async def _times(rest: Rest, device_id: str, key: str, from_ms: int, to_ms: int) -> AsyncIterator[int]:
    """The times at which a key has a value, `from_ms` <= time < `to_ms`, in order."""
    path = f"/api/plugins/telemetry/DEVICE/{device_id}/values/timeseries"
    while from_ms < to_ms:
        span: dict[str, str | int] = {"keys": key, "startTs": from_ms, "endTs": to_ms}
        answer = await rest.get(path, {**span, "limit": PAGE_ROWS, "agg": "NONE", "orderBy": "ASC"})
        rows = (answer or {}).get(key, ())
        for row in rows:
            if not from_ms <= row["ts"] < to_ms:
                raise RestError(f"GET {path}", 200, "expected rows of the range, oldest first")
            yield row["ts"]
            from_ms = row["ts"] + 1
        if len(rows) < PAGE_ROWS:
            return
