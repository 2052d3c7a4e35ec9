"""How unusual each point of a device is now, and how many readings it sends.

What is normal is learned every night from weeks that ended some days ago (so that what is wrong now is not
taken for normal), and everything since is judged: a point's score is 1.0 where it is worth saying something.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from agent.analysis.anomaly import Normal, drift, learn, resets, scores
from agent.analysis.kept import from_json, to_json
from agent.analysis.power_quality.aggregate import TEN_MINUTES_MS, on_grid
from agent.analysis.site.book import Book
from agent.analysis.site.energy import QUARTERS_PER_H, quarters
from agent.analysis.site.outlook import free_days
from agent.analysis.site.plan import GroupPlan, MeterPlan
from agent.analysis.site.scene import Scene
from agent.localtime import DAY_MS, Floats, Ints, week_slots

LEARN_DAYS, LEARN_DAYS_MIN = 28, 14
JUDGE_DAYS = 7  # what is normal ends so long ago, where the history is long enough
RATE_DAYS_MIN = 1.0
RATE_LIMIT, PERSIST = 0.5, 3  # as for anomalies
DRIFT_DAYS = 70
Values = dict[str, float]


class Past(NamedTuple):
    """A group's intervals without a hole from `from_ms` on: means (n, points), readings (n, points)."""

    from_ms: int
    mean: Floats
    counts: Ints

    @property
    def start_ms(self) -> Ints:
        return self.from_ms + np.arange(len(self.mean), dtype=np.int64) * TEN_MINUTES_MS


def past_of(book: Book, group: GroupPlan, from_ms: int, to_ms: int) -> Past:
    """From the first interval that there is on; both times on the grid."""
    found = book.tens((group.device, group.name), group.points, from_ms, to_ms).intervals
    if not found.start_ms.size:
        return Past(to_ms, np.empty((0, len(group.points))), np.empty((0, len(group.points)), np.int64))
    begin_ms = max(int(found.start_ms[0]), from_ms)
    mean = on_grid(found.start_ms, found.mean, begin_ms, to_ms, TEN_MINUTES_MS)
    count = on_grid(found.start_ms, found.count.astype(np.float64), begin_ms, to_ms, TEN_MINUTES_MS)
    return Past(begin_ms, mean, np.nan_to_num(count).astype(np.int64))


# ---------------------------------------------------------------- learning, once a night


def learn_group(on: Scene, group: GroupPlan) -> int:
    """Learn what is normal of each gauge of `group`, and its rate; how many points could be learned."""
    book, now_ms = on.book, on.at_ms
    today_ms = now_ms // DAY_MS * DAY_MS
    past = past_of(book, group, today_ms - (LEARN_DAYS + JUDGE_DAYS) * DAY_MS, today_ms)
    days = len(past.mean) * TEN_MINUTES_MS / DAY_MS
    if days >= RATE_DAYS_MIN:
        busiest = past.counts.max(axis=1) if past.counts.size else np.zeros(0)
        usual = float(np.median(busiest[busiest > 0])) if np.any(busiest > 0) else math.nan
        book.put_learned(f"rate {group.device} {group.name}", now_ms, usual)
    spare = int(min(max(days - LEARN_DAYS_MIN, 0), JUDGE_DAYS))
    end_ms = today_ms - spare * DAY_MS
    rows = (end_ms - past.from_ms) // TEN_MINUTES_MS
    if rows < LEARN_DAYS_MIN * DAY_MS // TEN_MINUTES_MS:
        return 0
    slots = week_slots(past.start_ms[:rows], on.zone, free_days(now_ms, on.zone))
    learned = 0
    for name in group.gauges:
        at = group.points.index(name)
        normal = learn(past.mean[:rows, at], slots, past.counts[:rows, at])
        if normal is not None:
            body = {"end_ms": end_ms, "normal": to_json(normal)}
            book.put_learned(_key(group, name), now_ms, body)
            learned += 1
    return learned


def _key(group: GroupPlan, name: str) -> str:
    return f"normal {group.device} {group.name} {name}"


# ---------------------------------------------------------------- judging, at each run


def unusual(on: Scene, group: GroupPlan, word: str) -> Values:
    """All of the group `unusual-<device>-<group>`: the score of each point in the last interval. NaN: nothing
    was learned of it yet."""
    kept, now_ms = on.book.learned(f"normal {group.device} {group.name} "), on.at_ms
    ends = [each["end_ms"] for each in kept.values()]
    from_ms = min([*ends, now_ms - DAY_MS])
    past = past_of(on.book, group, from_ms - from_ms % TEN_MINUTES_MS, now_ms)
    slots = week_slots(past.start_ms, on.zone, free_days(now_ms, on.zone))
    values: Values = {}
    for at, name in enumerate(group.points):
        if name in group.totals:
            score = _reset(past, at)
        else:
            score = _score(kept.get(_key(group, name)), past, at, slots)
        values[f"{word}_{name}_anomaly"] = score
    return values


def _score(kept: dict[str, object] | None, past: Past, at: int, slots: Ints) -> float:
    if kept is None:
        return math.nan
    try:
        normal = from_json(Normal, kept["normal"])  # type: ignore[arg-type]
    except ValueError:
        return math.nan  # after an upgrade: until the next night
    first = max((int(kept["end_ms"]) - past.from_ms) // TEN_MINUTES_MS, 0)  # type: ignore[call-overload]
    if len(past.mean) <= first:
        return math.nan
    found = scores(normal, past.mean[first:, at], slots[first:], past.counts[first:, at])
    return float(found.highest[-1])


def _reset(past: Past, at: int) -> float:
    """The worst fall of a counter within the last day; means of 10 minutes fall with it."""
    found = [each.score for each in resets(past.start_ms[-144:], past.mean[-144:, at])]
    return max(found, default=0.0)


def ingest(on: Scene, device: str, word: str) -> Values:
    """All of the group `ingest-<device>`: readings a minute over all its groups, what is usual, and how far
    the last half hour is away (1.0: half of them are missing, or half as many again came)."""
    now, usual, worst = 0.0, 0.0, math.nan
    for group in on.groups(device):
        past = past_of(on.book, group, on.at_ms - PERSIST * TEN_MINUTES_MS, on.at_ms)
        recent = np.zeros(PERSIST)
        busiest = past.counts.max(axis=1, initial=0)
        recent[PERSIST - len(busiest) :] = busiest
        now += float(recent[-1]) / 10
        name = f"rate {group.device} {group.name}"
        rate = on.book.learned(name).get(name)
        usual += math.nan if rate is None else rate / 10
        if rate:
            away = float(np.abs(recent / rate - 1).min()) / RATE_LIMIT
            worst = away if math.isnan(worst) else max(worst, away)
    return {f"{word}_ingest": now, f"{word}_ingest_usual": usual, f"{word}_ingest_anomaly": worst}


def drifting(on: Scene, meter: MeterPlan, other: MeterPlan) -> Values:
    """All of the group `drift-<meter>`: two meters of the same energy, day by day."""
    to_ms = on.at_ms // DAY_MS * DAY_MS
    from_ms = to_ms - DRIFT_DAYS * DAY_MS
    both = [_day_kwh(on.book, each, from_ms, to_ms) for each in (meter, other)]
    first = int(np.argmax(~np.isnan(both[0]) & ~np.isnan(both[1])))
    days_ms = from_ms + np.arange(DRIFT_DAYS, dtype=np.int64) * DAY_MS
    mine, theirs = (each[first:] for each in both)
    found = list(drift(mine, theirs, days_ms[first:])) if mine.size > LEARN_DAYS else []
    enough = mine.size > LEARN_DAYS and not np.isnan(mine).all()
    score = max((each.score for each in found if each.end_ms == to_ms), default=0.0)
    return {f"{meter.slug}_drift_anomaly": score if enough else math.nan}


def _day_kwh(book: Book, meter: MeterPlan, from_ms: int, to_ms: int) -> Floats:
    """NaN for a day that misses a quarter."""
    found = quarters(book, meter, from_ms, to_ms).power_kw
    return np.asarray(found.reshape(-1, 24 * QUARTERS_PER_H).sum(axis=1) / QUARTERS_PER_H, dtype=np.float64)
