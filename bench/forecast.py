#!/usr/bin/env python3
"""The next day's load and the month's peak against naive forecasts, on weeks held back.

    .venv/bin/python bench/forecast.py [--sites 4] [--seed 1]

Made-up loads (`shapes.py`); the model sees at most ten weeks before each day and is fitted once a week.
Outdoor temperatures of the day forecast are off by about 1 degC, as a local forecast is.
"""

import argparse
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))


from agent.analysis.forecast import expected_kw, fit_load, forecast_day_kw, forecast_peak
from agent.localtime import week_slots
from bench import shapes

ZONE = ZoneInfo("America/Sao_Paulo")
DAYS, HELD_BACK_DAYS, MEMORY_H, WEEK_H = 112, 42, 70 * 24, 168


def site_of(chance, kind):
    """Hourly load, hourly outdoor temperature and slots of one made-up site."""
    outdoor_c, free = shapes.weather_c(chance, DAYS), shapes.holidays(chance, DAYS)
    load = getattr(shapes, kind)(chance, DAYS, outdoor_c, free)
    marked = zip(shapes.day_of(DAYS), free[:: shapes.STEPS_PER_DAY], strict=True)
    slots = week_slots(shapes.times_ms(DAYS)[::6], ZONE, frozenset(day for day, is_free in marked if is_free))
    return load.reshape(-1, 6).mean(axis=1), outdoor_c.reshape(-1, 6).mean(axis=1), slots


def day_errors(load, outdoor_c, slots, chance):
    """Mean absolute error of each held-back day: with weather, without, same hour last week."""
    errors = []
    for day in range(DAYS - HELD_BACK_DAYS, DAYS):
        now = day * 24
        past, last, ahead = slice(max(0, now - MEMORY_H), now), slice(now - 48, now), slice(now, now + 24)
        if (day - DAYS + HELD_BACK_DAYS) % 7 == 0:
            warm = fit_load(load[past], slots[past], outdoor_c[past])
            blind = fit_load(load[past], slots[past])
        forecast_c = np.concatenate([outdoor_c[last], outdoor_c[ahead] + chance.normal(0, 1)])
        with_weather = forecast_day_kw(warm, slots[ahead], load[last], slots[last], forecast_c)
        without = forecast_day_kw(blind, slots[ahead], load[last], slots[last])
        naive = load[now - WEEK_H : now - WEEK_H + 24]
        errors.append([np.abs(each - load[ahead]).mean() for each in (with_weather, without, naive)])
    return np.mean(errors, axis=0)


def peak_errors(load, slots):
    """Of a four-week "month" forecast after its first week: how far off the model is, how far the peak of the
    four weeks before, and whether the 90 % level held."""
    month, begin = 28, DAYS - 28
    today = begin + 7
    past = slice(max(0, today * 24 - MEMORY_H), today * 24)
    model = fit_load(load[past], slots[past])
    expected = expected_kw(model, slots).reshape(-1, 24).max(axis=1)
    peaks = load.reshape(-1, 24).max(axis=1)
    days = slice(past.start // 24, today)
    so_far_kw = float(peaks[begin:today].max())
    found = forecast_peak(so_far_kw, peaks[days], expected[days], expected[today:])
    truth, before = peaks[begin:].max(), peaks[begin - month : begin].max()
    return abs(found.median_kw / truth - 1), abs(before / truth - 1), truth <= found.high_kw


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    print("mean absolute error, kW       with weather  without  same hour last week")
    results, peaks = [], []
    for kind in ("office_kw", "shop_kw"):
        for site in range(arguments.sites):
            chance = np.random.default_rng([arguments.seed, site])
            load, outdoor_c, slots = site_of(chance, kind)
            errors = day_errors(load, outdoor_c, slots, chance)
            figures = "   ".join(f"{each:6.2f}" for each in errors)
            print(f"{kind} {site} (mean {load.mean():4.1f} kW)       {figures}")
            results.append(errors)
            peaks.append(peak_errors(load, slots))
    mean = np.mean(results, axis=0)
    less = [100 * (1 - each / mean[2]) for each in mean[:2]]
    print(f"less than naive: {less[0]:.0f} % with weather, {less[1]:.0f} % without")
    model, naive, inside = np.mean(np.array(peaks, dtype=float), axis=0)
    print(f"month's peak: {100 * model:.1f} % off, that of the month before {100 * naive:.1f} %; "
          f"{100 * inside:.0f} % stayed below the 90 % level")  # fmt: skip
    return mean


if __name__ == "__main__":
    main()
