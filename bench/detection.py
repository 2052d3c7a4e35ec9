#!/usr/bin/env python3
"""How well faults are found, and how often none is there: precision, recall, false alarms.

    .venv/bin/python bench/detection.py [--sites 12] [--seed 1]

Points of made-up sites (`shapes.py`): four weeks to learn from, four weeks to judge. Every point is judged as
it is (all findings are false alarms) and with one labelled fault of each kind put into its weeks.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))


from agent.analysis.anomaly import Fault, drift, findings, learn, resets, scores
from agent.localtime import DAY_MS, week_slots
from bench import shapes

ZONE = ZoneInfo("America/Sao_Paulo")
LEARN_DAYS, JUDGE_DAYS, MONTH_DAYS = 28, 28, 30.4
DAYS = LEARN_DAYS + JUDGE_DAYS
SPLIT = LEARN_DAYS * shapes.STEPS_PER_DAY


def points_of(chance):
    """The points of one site: name -> values of 10-minute intervals; and its holidays."""
    outdoor_c, free = shapes.weather_c(chance, DAYS), shapes.holidays(chance, DAYS)
    office = shapes.office_kw(chance, DAYS, outdoor_c, free)
    shop = shapes.shop_kw(chance, DAYS, outdoor_c, free)
    points = {
        "office_kw": office,
        "shop_kw": shop,
        "voltage_v": shapes.voltage_v(chance, DAYS, office),
        "room_c": shapes.room_c(chance, DAYS, outdoor_c, free),
        "outdoor_c": np.round(outdoor_c, 1),
    }
    for values in points.values():
        values[chance.random(values.size) < 0.002] = np.nan
    days = {
        day
        for day, is_free in zip(shapes.day_of(DAYS), free[:: shapes.STEPS_PER_DAY], strict=True)
        if is_free
    }
    return points, frozenset(days)


# What somebody would want to know of; for a load, in parts of its span from night to day.
SIZES = {"voltage_v": 6.0, "room_c": 5.0, "outdoor_c": 8.0}
LOAD_PART = 0.8


def size_of(name, values):
    return SIZES.get(name) or LOAD_PART * float(np.nanpercentile(values, 90) - np.nanpercentile(values, 10))


def left_on(chance, values, counts, size):
    """Something runs through the night, or a reading is far off for three hours."""
    at = int(chance.integers(2, JUDGE_DAYS - 2)) * shapes.STEPS_PER_DAY + int(chance.integers(6, 18))
    values[at : at + 18] += size
    return at, at + 18


def stuck(chance, values, counts, size):
    at = int(chance.integers(0, (JUDGE_DAYS - 5) * shapes.STEPS_PER_DAY))
    values[at : at + 3 * shapes.STEPS_PER_DAY] = values[at] if values[at] == values[at] else 1.0
    return at, at + 3 * shapes.STEPS_PER_DAY


def shifted(chance, values, counts, size):
    at = int(chance.integers(2, JUDGE_DAYS - 8)) * shapes.STEPS_PER_DAY
    values[at:] += size
    return at, values.size


def slow_ingest(chance, values, counts, size):
    at = int(chance.integers(0, (JUDGE_DAYS - 2) * shapes.STEPS_PER_DAY))
    counts[at : at + 36] = chance.binomial(600, 0.3, 36)
    return at, at + 36


POINTS = ("office_kw", "shop_kw", "voltage_v", "room_c", "outdoor_c")
FAULTS = {
    Fault.RESIDUAL: left_on,
    Fault.FLAT: stuck,
    Fault.STEP: shifted,
    Fault.RATE: slow_ingest,
}


def found_in(normal, values, slots, counts):
    result = scores(normal, values, slots, counts)
    start_ms = shapes.times_ms(JUDGE_DAYS)
    return list(findings(result, start_ms)), start_ms[0]


def judge(sites, seed):
    """Counts of hits, misses and false alarms by fault, and of point months judged."""
    tally, alarms, point_months = Counter(), Counter(), 0.0
    for site in range(sites):
        chance = np.random.default_rng([seed, site])
        points, free = points_of(chance)
        slots = week_slots(shapes.times_ms(DAYS), ZONE, free)
        for name, values in points.items():
            counts = chance.binomial(600, 0.995, values.size)
            normal = learn(values[:SPLIT], slots[:SPLIT], counts[:SPLIT])
            clean, _ = found_in(normal, values[SPLIT:], slots[SPLIT:], counts[SPLIT:])
            point_months += JUDGE_DAYS / MONTH_DAYS
            for each in clean:
                alarms[name, each.fault] += 1
            for fault, inject in FAULTS.items():
                broken, fewer = values[SPLIT:].copy(), counts[SPLIT:].copy()
                begin, end = inject(chance, broken, fewer, size_of(name, values))
                seen, first_ms = found_in(normal, broken, slots[SPLIT:], fewer)
                from_ms, to_ms = (first_ms + at * shapes.STEP_MS for at in (begin, end))
                hit = [f for f in seen if f.start_ms < to_ms and f.end_ms > from_ms]
                tally[fault, "found" if hit else "missed"] += 1
                tally[fault, name] += bool(hit)
                # What was there without the fault is counted once, above.
                tally[fault, "false"] += sum(f not in clean and f.start_ms >= to_ms + DAY_MS for f in seen)
                tally[fault, "named"] += any(f.fault == fault for f in hit)
    return tally, alarms, point_months


def judge_pairs(sites, seed):
    """Drift of redundant meters, and resets of counters."""
    tally, months = Counter(), 0.0
    start_ms = shapes.times_ms(DAYS)[:: shapes.STEPS_PER_DAY]
    for site in range(sites):
        chance = np.random.default_rng([seed, site, 7])
        outdoor_c = shapes.weather_c(chance, DAYS)
        power = shapes.shop_kw(chance, DAYS, outdoor_c, np.zeros(DAYS * shapes.STEPS_PER_DAY, dtype=bool))
        day_kwh = power.reshape(DAYS, -1).sum(axis=1) / 6
        first = day_kwh * (1 + chance.normal(0, 0.001, DAYS))
        second = 1.012 * day_kwh * (1 + chance.normal(0, 0.002, DAYS))
        ageing = 1 + 0.03 * np.clip((np.arange(DAYS) - LEARN_DAYS - 3) / 20, 0, 1)
        tally[Fault.DRIFT, "false"] += len(list(drift(first, second, start_ms)))
        tally[Fault.DRIFT, "found" if list(drift(first, second * ageing, start_ms)) else "missed"] += 1
        counter = np.round(np.cumsum(power / 6), 1)
        times_ms = shapes.times_ms(DAYS)
        tally[Fault.RESET, "false"] += len(list(resets(times_ms, counter)))
        counter[5000:] -= counter[5000]
        tally[Fault.RESET, "found" if len(list(resets(times_ms, counter))) == 1 else "missed"] += 1
        months += JUDGE_DAYS / MONTH_DAYS
    for fault in (Fault.DRIFT, Fault.RESET):
        tally[fault, "named"] = tally[fault, "found"]
    return tally, months


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    begun = time.perf_counter()
    tally, alarms, months = judge(arguments.sites, arguments.seed)
    pairs, pair_months = judge_pairs(arguments.sites, arguments.seed)
    tally += pairs
    print(f"{arguments.sites} sites, seed {arguments.seed}: {months:.0f} point months without a fault")
    print("fault     injected  found  recall  called by its name  precision")
    for fault in (*FAULTS, Fault.DRIFT, Fault.RESET):
        hit, missed, false = (tally[fault, key] for key in ("found", "missed", "false"))
        precision = hit / max(hit + false, 1)
        row = f"{fault:9} {hit + missed:8} {hit:6} {hit / (hit + missed):7.2f} {tally[fault, 'named']:19}"
        by_point = ", ".join(
            f"{key[1]} {tally[key]}" for key in tally if key[0] == fault and key[1] in POINTS
        )
        print(f"{row} {precision:10.2f}  {by_point}")
    everything = sum(alarms.values())
    print(f"false alarms per point and month: {everything / months:.2f}")
    for (name, fault), count in sorted(alarms.items(), key=str):
        print(f"  {name:10} {fault:9} {count / (months / 5):.2f}")
    print(f"false alarms of a pair of meters a month: {pairs[Fault.DRIFT, 'false'] / pair_months:.2f}")
    print(f"{time.perf_counter() - begun:.1f} s")
    return tally, everything / months


if __name__ == "__main__":
    main()
