"""Made-up sites whose readings look like real ones: the ground truth of the detection and forecast benches.

Nothing here has the structure of what it judges: loads are thermostats, people who come late, lifts and
refrigerators, in 10-minute steps; weather has fronts of several days; voltage follows the street.
"""

from datetime import UTC, datetime, timedelta

import numpy as np

STEP_MS = 600_000
STEPS_PER_DAY = 144
BEGIN = datetime(2025, 10, 6, 3, tzinfo=UTC)  # Monday 00 h in Sao Paulo
OFFSET_H = 3


def times_ms(days):
    return round(BEGIN.timestamp() * 1000) + np.arange(days * STEPS_PER_DAY, dtype=np.int64) * STEP_MS


def calendar(days):
    """Hour of day and weekday of each step, on the wall clock."""
    step = np.arange(days * STEPS_PER_DAY)
    return step % STEPS_PER_DAY / 6, step // STEPS_PER_DAY % 7


def slow(chance, steps, memory_steps, size):
    """A random walk that comes home, standard deviation `size`."""
    keep = np.exp(-1 / memory_steps)
    noise = chance.normal(0, size * np.sqrt(1 - keep**2), steps)
    value, found = chance.normal(0, size), np.empty(steps)
    for at in range(steps):
        value = value * keep + noise[at]
        found[at] = value
    return found


def weather_c(chance, days):
    hour, _ = calendar(days)
    season = 3 * np.sin(2 * np.pi * (np.arange(hour.size) / STEPS_PER_DAY + chance.uniform(0, 365)) / 365)
    fronts = slow(chance, hour.size, 3 * STEPS_PER_DAY, 3.0)
    sun = np.maximum(np.sin(2 * np.pi * (hour - 8.5) / 24), -0.6)
    return 24 + season + fronts + 4.5 * sun * (1 + slow(chance, hour.size, STEPS_PER_DAY, 0.25))


def holidays(chance, days):
    """One weekday in about thirty, as a mask of steps."""
    free = np.zeros(days, dtype=bool)
    for day in range(days):
        free[day] = day % 7 < 5 and chance.random() < 1 / 30
    return np.repeat(free, STEPS_PER_DAY)


def office_kw(chance, days, outdoor_c, free):
    """Offices: plugs by people who come and go when they like, thermostats that cycle and saturate."""
    hour, weekday = calendar(days)
    working = (weekday < 5) & ~free
    day = np.arange(hour.size) // STEPS_PER_DAY
    come = (8 + chance.normal(0, 0.35, days))[day]
    leave = (18 + chance.normal(0, 0.6, days))[day]
    people = working * np.clip((hour - come) / 1.2, 0, 1) * np.clip((leave - hour) / 1.5, 0, 1)
    people *= 1 - 0.25 * ((hour > 12) & (hour < 13.3))
    people *= (1 + chance.normal(0, 0.06, days))[day]
    saturday = (weekday == 5) & (hour > 8) & (hour < 12) & (chance.random(days) < 0.7)[day]
    plugs = 4 + 22 * people + 6 * saturday
    units, cooling = 8, np.zeros(hour.size)
    for unit in range(units):
        target = 22 + chance.normal(0, 1)
        wish = np.clip((outdoor_c + 4 * people - target) / 9, 0, 1) * (people > 0.05)
        cooling += (
            3.2 * (wish > 0) * np.clip(wish + 0.25 * np.sin(np.arange(hour.size) / (2 + unit / 3)), 0, 1)
        )
    fridge = 0.6 * (np.sin(np.arange(hour.size) / 1.7 + chance.uniform(0, 6)) > 0.2)
    return np.maximum(plugs + cooling + fridge + chance.normal(0, 0.5, hour.size), 0.5)


def shop_kw(chance, days, outdoor_c, free):
    """A shop: seven days a week, lights by the clock, cold room by the weather."""
    hour, weekday = calendar(days)
    is_open = (hour > 9) & (hour < np.where(weekday == 6, 15, 21)) & ~(free & (hour > 14))
    busy = is_open * (1 + 0.3 * (weekday >= 4)) * (1 + slow(chance, hour.size, 40, 0.12))
    cold = 3 + 0.25 * np.maximum(outdoor_c - 15, 0)
    cooling = is_open * np.clip((outdoor_c - 21) / 8, 0, 1) * 12
    return np.maximum(5 * busy + cold + cooling + 6 * is_open + chance.normal(0, 0.4, hour.size), 0.5)


def voltage_v(chance, days, load_kw):
    hour, _ = calendar(days)
    street = 1.2 * np.sin(2 * np.pi * (hour - 6) / 24) + slow(chance, hour.size, 60, 0.9)
    tap = np.round(slow(chance, hour.size, 2 * STEPS_PER_DAY, 0.6)) * 0.8
    return 127 + street + tap - 0.05 * load_kw + chance.normal(0, 0.25, hour.size)


def room_c(chance, days, outdoor_c, free):
    hour, weekday = calendar(days)
    cooled = (weekday < 5) & ~free & (hour > 7.8) & (hour < 18.2)
    temperature, found = 24.0, np.empty(hour.size)
    for at in range(hour.size):
        pull = 23.2 if cooled[at] else outdoor_c[at] + 1.5
        temperature += (pull - temperature) * (0.12 if cooled[at] else 0.03)
        found[at] = temperature
    return np.round(found + chance.normal(0, 0.1, hour.size), 1)


def day_of(days):
    """The wall clock day of each day of the shape, as dates."""
    return [(BEGIN - timedelta(hours=OFFSET_H) + timedelta(days=day)).date() for day in range(days)]
