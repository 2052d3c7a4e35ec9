"""What control has saved against a plain schedule, in the room as it was learned, with how sure that is.

Rules: pure. The schedule (on a fixed time ahead, one set point until closing) is rolled through the recorded
weather and hours on the room's accepted model. What the model makes of the real temperatures, rolled alike,
against what the meter said, corrects it and says how far it can be trusted; so do how much the days differ
among themselves, and that nobody knows what its set point would have made of the room. A room without a meter
is compared with what its units are taken to draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.control.grey_box import FOLLOW, Floats, features, memories, outside, rows, stand_in
from agent.control.history import OCCUPIED, OUTDOOR, POWER, QUARTER, SUN_W_M2, TEMPERATURE, History
from agent.control.model import (
    COOL1,
    COOL2,
    COOL_OUT,
    KNEE,
    OUT_REFERENCE_C,
    Model,
)
from agent.control.room import QUARTERS_PER_DAY, Room

QUARTER_H = 0.25
DAYS_MIN = 3
SURE = 1.96
COOLING_MIN_K = 0.02
ON_SHARE = 0.01
SMOOTH = 5
OFFSET_SURE_K = 0.5
"""How warm a room gets at a set point is known that well: its unit's sensor is wrong, and load matters."""


@dataclass(frozen=True, slots=True)
class Savings:
    """Over `days` whole days. `*_sure`: half the width of the 95 % interval of what was saved."""

    days: int
    actual_kwh: float
    baseline_kwh: float
    kwh_sure: float
    actual_brl: float
    baseline_brl: float
    brl_sure: float
    actual_kh: float
    baseline_kh: float

    @property
    def saved_kwh(self) -> float:
        return self.baseline_kwh - self.actual_kwh

    @property
    def saved_brl(self) -> float:
        return self.baseline_brl - self.actual_brl


def savings(room: Room, model: Model, history: History, price: Floats) -> Savings | None:
    """`price`: R$/kWh of each row. None with fewer than `DAYS_MIN` whole days."""
    table = rows(history)
    temp, power = table[:, TEMPERATURE], np.maximum(table[:, POWER] - model.idle_w, 0.0)
    known = ~np.isnan(temp) & ~np.isnan(power)
    days = _whole_days(history, known)
    if len(days) < DAYS_MIN:
        return None
    grey = _Grey(room, model, history)
    explained, (baseline, baseline_c) = grey.explained(known), grey.schedule(known)
    colder, warmer = (grey.schedule(known, each)[0] for each in (-OFFSET_SURE_K, OFFSET_SURE_K))
    by_day = np.array(
        [
            [_kwh(each[day]) for each in (power, explained, baseline)]
            + [_brl(each[day], price[day]) for each in (power, explained, baseline)]
            for day in days
        ]
    )
    scored = np.concatenate(days)
    ratio, doubt = _calibration(by_day[:, 0], by_day[:, 1])
    doubt = float(np.hypot(doubt, _share(colder[scored], warmer[scored], baseline[scored]) / SURE))
    kwh, kwh_sure = _difference(by_day[:, 2] * ratio, by_day[:, 0], doubt)
    brl, brl_sure = _difference(by_day[:, 5] * ratio, by_day[:, 3], doubt)
    return Savings(
        len(days),
        float(by_day[:, 0].sum()),
        kwh,
        kwh_sure,
        float(by_day[:, 3].sum()),
        brl,
        brl_sure,
        _missed_kh(room, table[scored, OCCUPIED], temp[scored]),
        _missed_kh(room, table[scored, OCCUPIED], baseline_c[scored]),
    )


def _whole_days(history: History, known: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    starts = np.flatnonzero(rows(history)[:, QUARTER] == 0)
    found = [start + np.arange(QUARTERS_PER_DAY) for start in starts]
    return [day for day in found if day[-1] < len(known) and known[day].all()]


def _kwh(power_w: Floats) -> float:
    return float(power_w.sum() * QUARTER_H / 1000)


def _brl(power_w: Floats, price: Floats) -> float:
    return float((power_w * price).sum() * QUARTER_H / 1000)


def _calibration(actual: Floats, explained: Floats) -> tuple[float, float]:
    """How much the unit really draws of what the model thinks, and the relative doubt in that."""
    total = explained.sum()
    if total <= 0:
        return 1.0, 1.0
    ratio = float(np.clip(actual.sum() / total, 0.3, 3.0))
    off = actual - ratio * explained
    return ratio, float(np.std(off, ddof=1) * np.sqrt(len(off)) / max(actual.sum(), 1e-9))


def _difference(baseline: Floats, actual: Floats, doubt: float) -> tuple[float, float]:
    """The baseline's total, and how sure the difference is: days among themselves, and the model."""
    days = np.std(baseline - actual, ddof=1) * np.sqrt(len(actual))
    model = doubt * baseline.sum()
    return float(baseline.sum()), float(SURE * np.hypot(days, model))


def _share(colder: Floats, warmer: Floats, between: Floats) -> float:
    """By which share the schedule's energy may be wrong because nobody knows what its set point gives."""
    return float((colder.sum() - warmer.sum()) / 2 / max(between.sum(), 1e-9))


def _smoothed(temp_c: Floats) -> Floats:
    """The mean of the quarters around each, gaps left out."""
    known = ~np.isnan(temp_c)
    window = np.ones(SMOOTH)
    total = np.convolve(np.nan_to_num(temp_c), window, "same")
    count = np.convolve(known.astype(np.float64), window, "same")
    return np.asarray(np.where(known, total / np.maximum(count, 1.0), np.nan))


def _missed_kh(room: Room, occupied: Floats, temp_c: Floats) -> float:
    return float(np.nansum(np.maximum(temp_c - room.band_c[1], 0) * (occupied > 0)) * QUARTER_H)


class _Grey:
    """The learned room along its history."""

    def __init__(self, room: Room, model: Model, history: History) -> None:
        table = rows(history)
        self.room, self.max_w = room, model.max_w - model.idle_w
        self.learned = np.array(model.learned)
        self.temp, self.power = table[:, TEMPERATURE], table[:, POWER] - model.idle_w
        quarter = table[:, QUARTER].astype(np.int64)
        outdoor = table[:, OUTDOOR]
        if np.isnan(outdoor).all():
            outdoor = stand_in(quarter)
        self.free = outside(quarter, table[:, OCCUPIED], outdoor, np.nan_to_num(table[:, SUN_W_M2]))
        less = self.learned[COOL_OUT] * (outdoor - OUT_REFERENCE_C) / 10
        self.cool1 = np.maximum(self.learned[COOL1] - less, COOLING_MIN_K)
        self.cool2 = np.maximum(self.learned[COOL2] - less, COOLING_MIN_K)
        self.occupied = table[:, OCCUPIED] > 0
        self.knee = KNEE if any(unit.inverter for unit in room.units) else 1.0

    def explained(self, known: NDArray[np.bool_]) -> Floats:
        """The power that the model thinks it takes to be as warm as it was while the units were on, W.

        Rolled like the schedule, after smoothed temperatures: noise would ask for cooling that nobody gave.
        """
        on = np.nan_to_num(self.power) > ON_SHARE * self.max_w
        return self._roll(known, on, _smoothed(self.temp))[0]

    def _load(self, cooled_k: Floats, at: NDArray[np.int64]) -> Floats:
        first = self.knee * self.cool1[at]
        above = self.knee + (cooled_k - first) / self.cool2[at]
        load = np.where(cooled_k <= first, cooled_k / self.cool1[at], above)
        return np.asarray(np.clip(load, 0.0, 1.0), dtype=np.float64)

    def schedule(self, known: NDArray[np.bool_], offset_k: float = 0.0) -> tuple[Floats, Floats]:
        """Power (W) and temperature (°C) of each row under the plain schedule."""
        setpoint_c = min(self.room.safe_c, self.room.band_c[1] - 1.0) + offset_k
        return self._roll(known, self._hours(), np.full(len(self.temp), setpoint_c))

    def _roll(
        self, known: NDArray[np.bool_], on: NDArray[np.bool_], target_c: Floats
    ) -> tuple[Floats, Floats]:
        memory_c = memories(self.temp)
        power, temps = np.zeros(len(self.temp)), self.temp.copy()
        memory = memory_c[0]
        for at in range(1, len(self.temp)):
            if not known[at - 1] or not known[at]:
                memory = memory_c[at]
                continue
            row = features(self.free[at : at + 1], temps[at - 1 : at], memory[None, :])
            floating = float(temps[at - 1] + (row @ self.learned)[0])
            load = self._load(np.array([floating - target_c[at]]), np.array([at]))[0] if on[at] else 0.0
            temps[at] = floating - self._cooled(load, at)
            power[at] = load * self.max_w
            memory = memory + FOLLOW * (temps[at] - memory)
        return power, temps

    def _cooled(self, load: float, at: int) -> float:
        first = min(load, self.knee)
        return float(self.cool1[at] * first + self.cool2[at] * (load - first))

    def _hours(self) -> NDArray[np.bool_]:
        lead = round(self.room.fixed_lead_s / 900)
        padded = np.concatenate((self.occupied, np.zeros(lead, dtype=bool)))
        views = np.lib.stride_tricks.sliding_window_view(padded, lead + 1)
        return np.asarray(views.any(axis=1))
