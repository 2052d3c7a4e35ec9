"""The nightly fit of a room's grey box, and the gate that it must pass.

Rules: pure and deterministic. Fitted by what it predicts up to four hours ahead, not one step, or sensor
noise would flatten it; robust (Huber), signs bounded, drawn to a prior where the days say nothing; a gap
starts no prediction and ends those that reach it. Accepted only if, on days held back, its error four hours
ahead is below that of "it stays as it is" and below 1 K.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from agent.control.grey_box import (
    FOLLOW,
    LOWER,
    PRIOR,
    UPPER,
    Floats,
    features,
    memories,
    outside,
    rows,
    stand_in,
    with_power,
)
from agent.control.history import OCCUPIED, OUTDOOR, PEAK_W, POWER, QUARTER, SUN_W_M2, TEMPERATURE, History
from agent.control.model import (
    COOL1,
    COOL2,
    COOL_OUT,
    DAY,
    KNEE,
    LOAD_MAX,
    MEM,
    MISS_K_MAX,
    OPEN,
    OUT,
    SIZE,
    SUN,
    SURPRISE_FADE,
    SURPRISE_K_MAX,
    SURPRISE_SHARE,
    Model,
)
from agent.control.room import QUARTERS_PER_DAY, Room
from agent.control.state import Parameters

AHEAD = 16
ROUNDS = 8
STARTS_MIN = 100
STARTS_MAX = 800
DAYS_MIN = 3
ERROR_MAX_K = 1.0
JUDGED = "four hours ahead"
"""How a verdict begins that the gate has given; any other says what was lacking for one."""
HUBER_K = 0.6
PART_LOAD_LEAST = 0.7
# How many quarter-hours of evidence the prior is worth, per number learned, and around which spread.
SPREAD = np.ones(SIZE)
SPREAD[OUT] = 0.02
SPREAD[MEM] = 0.15, 0.08, 0.02
SPREAD[DAY], SPREAD[OPEN], SPREAD[SUN] = 0.25, 0.15, 0.5
SPREAD[[COOL1, COOL2, COOL_OUT]] = 2.0, 2.0, 0.05
NOISE_K = 0.1


class Days:
    """A history as the fit needs it: features, memories, and from which rows four hours can be foretold."""

    def __init__(self, history: History, max_w: float, idle_w: float, knee: float = KNEE) -> None:
        table = rows(history)
        self.bent = knee < 1
        self.temp = table[:, TEMPERATURE]
        quarter = table[:, QUARTER].astype(np.int64)
        load = np.clip((table[:, POWER] - idle_w) / max(max_w - idle_w, 1.0), 0.0, LOAD_MAX)
        outdoor_c = table[:, OUTDOOR]
        if np.isnan(outdoor_c).all():
            outdoor_c = stand_in(quarter)
        fixed = outside(quarter, table[:, OCCUPIED], outdoor_c, np.nan_to_num(table[:, SUN_W_M2]))
        self.exogenous = with_power(fixed, load, knee=knee)
        self.memory = memories(self.temp)
        whole = ~np.isnan(self.temp) & ~np.isnan(self.exogenous).any(axis=1)
        run = np.asarray(np.lib.stride_tricks.sliding_window_view(whole, AHEAD + 1).all(axis=1))
        self.starts = np.flatnonzero(run)
        self.starts = self.starts[self.starts >= min(24, len(whole) // 8)]
        self.starts = self.starts[:: len(self.starts) // STARTS_MAX + 1]
        # Only what a plan is for: the hours in which somebody is there, and those before and after.
        here = np.lib.stride_tricks.sliding_window_view(table[:, OCCUPIED] > 0, AHEAD + 1)
        self.matters = np.asarray(here.any(axis=1))[self.starts]
        self.day = (self.starts + int(quarter[0])) // QUARTERS_PER_DAY


def learned(
    rooms: tuple[Room, ...], histories: Mapping[str, History], parameters: Parameters, now_ms: int
) -> tuple[Parameters, dict[str, str]]:
    """Fit every room; what the gate refuses leaves the last accepted model. Seconds for each room.

    Also what the gate said of each room, in words.
    """
    models, verdicts, refused = dict(parameters.models), {}, set(parameters.refused)
    for room in rooms:
        if (history := histories.get(room.id)) is None:
            continue
        inverter = any(unit.inverter for unit in room.units)
        model, verdicts[room.id] = fit(history, room.rated_w, now_ms, inverter=inverter)
        if model is not None:
            models[room.id] = model
            refused.discard(room.id)
        elif verdicts[room.id].startswith(JUDGED):
            refused.add(room.id)
    return Parameters(models, tuple(sorted(refused))), verdicts


def fit(history: History, rated_w: float, now_ms: int, *, inverter: bool = True) -> tuple[Model | None, str]:
    """The model of these days, or None with why not. Without an inverter every kilowatt cools alike."""
    if len(history) < DAYS_MIN * QUARTERS_PER_DAY:
        return None, f"{len(history) / QUARTERS_PER_DAY:.1f} days recorded, {DAYS_MIN} needed"
    max_w, idle_w = powers(history, rated_w)
    days = Days(history, max_w, idle_w, KNEE if inverter else 2.0)
    held = days.day % 4 == 3
    if (held & days.matters).sum() < STARTS_MIN / 4 or (~held).sum() < STARTS_MIN:
        return None, f"{len(days.starts)} gapless stretches of four hours, {STARTS_MIN} needed"
    trial = _estimate(days, days.starts[~held])
    error_k, persistence_k = _errors(days, days.starts[held & days.matters], trial)
    verdict = f"{JUDGED} {error_k:.2f} K, staying as it is {persistence_k:.2f} K"
    if error_k >= min(persistence_k, ERROR_MAX_K):
        return None, verdict
    learned = _estimate(days, days.starts, trial)
    return Model(tuple(learned.tolist()), max_w, idle_w, error_k, now_ms), verdict


def powers(history: History, rated_w: float) -> tuple[float, float]:
    """What the units draw at full load and when they only stand by, as far as the days show it."""
    table = rows(history)
    power = table[:, POWER]
    power = power[~np.isnan(power)]
    if len(power) < QUARTERS_PER_DAY:
        return rated_w, 0.0
    idle_w = float(min(np.quantile(power, 0.05), 0.05 * rated_w))
    peaks = table[:, PEAK_W]
    peaks = peaks[~np.isnan(peaks)]
    # The second highest: whatever one quarter says may be wrong.
    peak_w = np.sort(peaks)[-2] if len(peaks) > 1 else 0.0
    seen_w = float(max(np.quantile(power, 0.998), peak_w))
    # A unit that cycles or modulates may never show a whole quarter at full load; a plate may be wrong.
    return max(seen_w, 0.9 * rated_w), idle_w


def _estimate(days: Days, starts: NDArray[np.int64], first: Floats | None = None) -> Floats:
    """Gauss-Newton on everything foretold from these starts."""
    learned = PRIOR.copy() if first is None else first.copy()
    for _ in range(ROUNDS):
        normal, pull = _normal_equations(days, starts, learned)
        # Overlapping predictions are not fresh evidence: sixteen of them count as about one.
        normal = normal / (AHEAD * NOISE_K**2)
        pull = pull / (AHEAD * NOISE_K**2)
        normal[np.diag_indices(SIZE)] += 1 / SPREAD**2
        pull += (PRIOR - learned) / SPREAD**2
        step = _step(normal, pull, learned, PART_LOAD_LEAST if days.bent else 1.0)
        learned = learned + step
        if np.abs(step / SPREAD).max() < 0.01:
            break
    return learned


def _normal_equations(days: Days, starts: NDArray[np.int64], learned: Floats) -> tuple[Floats, Floats]:
    normal, pull = np.zeros((SIZE, SIZE)), np.zeros(SIZE)
    slope = np.zeros((len(starts), SIZE))
    slopes = np.zeros((3, *slope.shape))
    temp, memory = days.temp[starts], days.memory[starts]
    back = learned[OUT] + learned[MEM].sum()
    for ahead in range(1, AHEAD + 1):
        row = features(days.exogenous[starts + ahead], temp, memory)
        slope = slope * (1 - back) + np.tensordot(learned[MEM], slopes, 1) + row
        temp = temp + row @ learned
        memory = memory + FOLLOW * (temp[:, None] - memory)
        slopes += FOLLOW[:, None, None] * (slope - slopes)
        miss = days.temp[starts + ahead] - temp
        limit_k = HUBER_K * (1 + ahead / 8)
        weight = np.minimum(1.0, limit_k / np.maximum(np.abs(miss), 1e-9)) / (1 + ahead / 4)
        normal += slope.T @ (slope * weight[:, None])
        pull += slope.T @ (miss * weight)
    return normal, pull


def _step(normal: Floats, pull: Floats, learned: Floats, least: float) -> Floats:
    """The step within the bounds, with the second slope of the cooling at `least` to 1 of the first.

    A plan that thinks gentle cooling far cheaper than it is would start hours early. Where that limit is met
    the slopes are one unknown: to cut the second afterwards would leave all others wrong for it, and the room
    warmer than foretold.
    """
    step = _bounded(normal, pull, LOWER - learned, UPPER - learned)
    first, second = learned[COOL1] + step[COOL1], learned[COOL2] + step[COOL2]
    ratio = min(max(second / first, least), 1.0)
    if second == ratio * first:
        return step
    tied = np.eye(SIZE)
    tied[COOL2, COOL2], tied[COOL2, COOL1] = 0.0, ratio
    fixed = np.zeros(SIZE)
    fixed[COOL2] = ratio * learned[COOL1] - learned[COOL2]
    pull = tied.T @ (pull - normal @ fixed)
    normal = tied.T @ normal @ tied
    normal[COOL2, COOL2] = 1.0
    return np.asarray(tied @ _bounded(normal, pull, LOWER - learned, UPPER - learned) + fixed)


def _bounded(normal: Floats, pull: Floats, low: Floats, high: Floats) -> Floats:
    """The step that solves `normal x = pull` between bounds, by coordinate descent."""
    step = np.asarray(np.clip(np.linalg.solve(normal, pull), low, high))
    diagonal = np.diag(normal)
    for _ in range(60):
        before = step.copy()
        for at in range(SIZE):
            rest = pull[at] - normal[at] @ step + diagonal[at] * step[at]
            step[at] = min(max(rest / diagonal[at], low[at]), high[at])
        if np.abs(step - before).max() < 1e-6:
            break
    return step


def foretell(days: Days, starts: NDArray[np.int64], learned: Floats, ahead_max: int = AHEAD) -> Floats:
    """The temperatures `ahead_max` quarters after each start, with what was missed lately."""
    missed = _surprises(days, learned)[starts]
    temp, memory = days.temp[starts], days.memory[starts]
    for ahead in range(1, ahead_max + 1):
        temp = temp + features(days.exogenous[starts + ahead], temp, memory) @ learned
        temp += missed * np.exp(-(ahead - 1) / SURPRISE_FADE)
        memory = memory + FOLLOW * (temp[:, None] - memory)
    return temp


def _surprises(days: Days, learned: Floats) -> Floats:
    """What the model missed up to each row, smoothed as `tuning.surprise` does."""
    foretold = days.temp[:-1] + features(days.exogenous[1:], days.temp[:-1], days.memory[:-1]) @ learned
    smooth, found = 0.0, [0.0]
    for miss in np.nan_to_num(np.clip(days.temp[1:] - foretold, -MISS_K_MAX, MISS_K_MAX)).tolist():
        smooth += SURPRISE_SHARE * (miss - smooth)
        found.append(min(max(smooth, -SURPRISE_K_MAX), SURPRISE_K_MAX))
    return np.array(found)


def _errors(days: Days, starts: NDArray[np.int64], learned: Floats) -> tuple[float, float]:
    """Root mean square errors four hours ahead: the model's, and that of staying as it is."""
    true = days.temp[starts + AHEAD]
    model_k = np.sqrt(np.mean((foretell(days, starts, learned) - true) ** 2))
    still_k = np.sqrt(np.mean((days.temp[starts] - true) ** 2))
    return float(model_k), float(still_k)
