"""The tariff post (posto tarifário) of each instant: peak, intermediate or off-peak."""

from __future__ import annotations

import enum

import numpy as np

from agent.localtime import DAY_MS, Ints, day_number, local_ms, minute_of_day
from agent.tariff.calendar import is_working_day
from agent.tariff.options import PostHours
from agent.tariff.tariff import Tariff


class Post(enum.IntEnum):
    """Also the row of a table of prices. In a bill: fora ponta, intermediário, ponta."""

    OFF_PEAK = 0
    INTERMEDIATE = 1
    PEAK = 2


POSTS = tuple(Post)
STEPS_MAX = 1_000_000


def expect_steps(steps: int, step_s: int) -> None:
    """ValueError on a number or length of steps that nobody means."""
    if not 0 < steps <= STEPS_MAX or step_s < 1:
        raise ValueError(f"expected 1 to {STEPS_MAX} steps of at least 1 s, found {steps} of {step_s} s")


def version_at(tariff: Tariff, local: Ints) -> Ints:
    """Which `[[version]]` holds at each wall clock time."""
    begins = np.array([day_number(each.valid_from) for each in tariff.file.version], dtype=np.int64)
    return np.maximum(np.searchsorted(begins, local // DAY_MS, side="right") - 1, 0)


def post_codes(tariff: Tariff, times_ms: Ints) -> Ints:
    """The `Post` in force at each instant (Unix milliseconds), as integers of the same shape."""
    local = local_ms(times_ms, tariff.zone)
    working = is_working_day(local, tariff.file.holidays)
    minutes, version = minute_of_day(local), version_at(tariff, local)
    codes = np.full(local.shape, int(Post.OFF_PEAK), dtype=np.int64)
    for at in np.unique(version):
        hours = tariff.file.version[int(at)].posts
        if hours is not None:
            here = working & (version == at)
            codes[here] = _of_minutes(minutes[here], hours)
    return codes


def _of_minutes(minutes: Ints, hours: PostHours) -> Ints:
    codes = np.full(minutes.shape, int(Post.OFF_PEAK), dtype=np.int64)
    for begin, end in hours.intermediate:
        codes[(minutes >= begin) & (minutes < end)] = int(Post.INTERMEDIATE)
    begin, end = hours.peak
    codes[(minutes >= begin) & (minutes < end)] = int(Post.PEAK)
    return codes
