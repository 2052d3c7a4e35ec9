"""The nightly fit: it finds a room that is of its own kind, refuses what it cannot foretell."""

import numpy as np
import pytest

from agent.control.grey_box import features, history_of, memories, outside, rows, stand_in, with_power
from agent.control.history import (
    COLUMNS,
    OCCUPIED,
    OUTDOOR,
    POWER,
    QUARTER,
    SUN_W_M2,
    TEMPERATURE,
    History,
    OpenQuarter,
)
from agent.control.learn import AHEAD, Days, fit, foretell, learned, powers
from agent.control.model import COOL1, COOL2, LOAD_MAX, MEM, OUT, SIZE, Model, last_miss_k
from agent.control.room import QUARTER_MS, Room, Unit
from agent.control.state import Parameters

DAYS = 14
COUNT = DAYS * 96


def lived(*, noise_k: float = 0.02, seed: int = 1, cooling_k: float = 1.6, bend: float = 1.0) -> History:
    """Days of a first-order room with a unit that is on by day in bursts, as measured.

    `bend`: what a watt of the upper half of the load cools of one of the lower.
    """
    random = np.random.default_rng(seed)
    quarter = np.arange(COUNT) % 96
    outdoor = (
        27 + 5 * np.cos((quarter / 4 - 15) / 24 * 2 * np.pi) + np.repeat(random.normal(0, 1.5, DAYS), 96)
    )
    power = np.where((quarter > 30) & (quarter < 72), random.choice([0, 400, 800, 1200], COUNT), 5.0)
    temp, found = 27.0, []
    for at in range(COUNT):
        gain = 0.25 if 32 <= quarter[at] < 72 else 0.02
        load = power[at] / 1200
        cooled_k = cooling_k * (min(load, 0.5) + bend * max(load - 0.5, 0.0))
        temp += 0.06 * (outdoor[at] - temp) + gain - cooled_k
        seen = temp + random.normal(0, noise_k)
        found.append(
            [seen, outdoor[at], np.nan, power[at], float(32 <= quarter[at] < 72), float(quarter[at]), np.nan]
        )
    return history_of(np.array(found), 1_000_000 + COUNT)


def test_foretells_a_room_of_its_own_kind() -> None:
    model, verdict = fit(lived(), 1200.0, 5)
    assert model is not None, verdict
    assert model.error_k < 0.25
    assert model.fitted_ms == 5
    learned = np.array(model.learned)
    assert learned[OUT] + learned[MEM].sum() == pytest.approx(0.06, abs=0.04)
    assert learned[COOL1] == pytest.approx(1.6, rel=0.25)


def test_a_stronger_unit_is_found_stronger() -> None:
    weak, strong = (fit(lived(cooling_k=each), 1200.0, 0)[0] for each in (1.0, 2.2))
    assert weak is not None
    assert strong is not None
    assert strong.learned[COOL1] > 1.5 * weak.learned[COOL1]


def test_without_an_inverter_every_kilowatt_cools_alike() -> None:
    model, _ = fit(lived(), 1200.0, 0, inverter=False)
    assert model is not None
    assert model.learned[COOL1] == model.learned[COOL2]


def test_a_bend_beyond_the_bound_does_not_make_the_rest_wrong() -> None:
    """A unit whose last watts cool a fifth of its first: the bound holds, what is foretold stays unbiased."""
    history = lived(bend=0.2)
    model, verdict = fit(history, 1200.0, 0)
    assert model is not None, verdict
    learned = np.array(model.learned)
    assert learned[COOL2] == pytest.approx(0.7 * learned[COOL1])
    days = Days(history, model.max_w, model.idle_w)
    starts = days.starts[days.matters]
    missed = rows(history)[starts + AHEAD, TEMPERATURE] - foretell(days, starts, learned)
    assert abs(missed.mean()) < 0.05


def test_gaps_are_dropped_and_lies_weigh_little() -> None:
    history = lived()
    random = np.random.default_rng(3)
    rows(history)[200:230, TEMPERATURE] = np.nan
    rows(history)[500:520, POWER] = np.nan
    rows(history)[random.integers(0, COUNT, 12), TEMPERATURE] += 6.0
    model, verdict = fit(history, 1200.0, 0)
    assert model is not None, verdict
    assert model.learned[COOL1] == pytest.approx(1.6, rel=0.35)


def test_the_gate_refuses_noise() -> None:
    history = lived()
    rows(history)[:, TEMPERATURE] = 26 + np.random.default_rng(1).normal(0, 3.0, COUNT)
    model, verdict = fit(history, 1200.0, 0)
    assert model is None
    assert "four hours ahead" in verdict


def test_a_night_that_the_gate_refuses_keeps_the_model_and_says_so_until_one_passes() -> None:
    room, good, bad = Room("room", (Unit("ac"),)), lived(), lived()
    rows(bad)[:, TEMPERATURE] = 26 + np.random.default_rng(1).normal(0, 3.0, COUNT)
    first, _ = learned((room,), {"room": good}, Parameters(), 1)
    assert (list(first.models), first.refused) == (["room"], ())
    second, _ = learned((room,), {"room": bad}, first, 2)
    assert (second.models, second.refused) == (first.models, ("room",))
    third, _ = learned((room,), {"room": History()}, second, 3)
    assert third.refused == ("room",), "too few days are no verdict"
    assert Parameters.from_json(third.to_json()) == third
    assert learned((room,), {"room": good}, third, 4)[0].refused == ()


@pytest.mark.parametrize("days", [0, 1, 2])
def test_too_few_days_are_refused_with_words(days: int) -> None:
    whole = lived()
    model, verdict = fit(history_of(rows(whole)[: days * 96], whole.last), 1200.0, 0)
    assert model is None
    assert "3 needed" in verdict


def test_a_history_of_holes_is_refused() -> None:
    history = lived()
    rows(history)[::10, TEMPERATURE] = np.nan
    assert fit(history, 1200.0, 0)[0] is None


def test_same_days_same_model() -> None:
    assert fit(lived(), 1200.0, 0) == fit(lived(), 1200.0, 0)


def test_foretelling_uses_no_later_temperature() -> None:
    history = lived()
    days = Days(history, *powers(history, 1200.0))
    start = np.array([400])
    learned = np.full(SIZE, 0.01)
    before = foretell(days, start, learned)
    days.temp[401 : 401 + AHEAD] += 5
    assert foretell(days, start, learned) == pytest.approx(before)


def test_memories_hold_over_a_gap() -> None:
    temp = np.array([20.0] * 10 + [30.0] * 10 + [np.nan] * 5 + [30.0])
    memory = memories(temp)
    assert memory.shape == (26, 3)
    assert (memory[19] == memory[24]).all()
    assert memory[19, 0] > memory[19, 1] > memory[19, 2]


def test_one_quarter_in_plain_numbers_is_what_the_arrays_say() -> None:
    """`change_k` and `features` are the same formula, with and without sensors."""
    random, whole = np.random.default_rng(4), rows(lived())
    learned_ = random.uniform(0.01, 0.2, SIZE)
    model = Model(tuple(learned_.tolist()), 1200.0, 5.0, 0.3, 0)
    whole[::3, OUTDOOR] = np.nan
    whole[::2, SUN_W_M2] = 400.0
    quarter = whole[:, QUARTER].astype(np.int64)
    outdoor_c = np.where(np.isnan(whole[:, OUTDOOR]), stand_in(quarter), whole[:, OUTDOOR])
    fixed = outside(quarter, whole[:, OCCUPIED], outdoor_c, np.nan_to_num(whole[:, SUN_W_M2]))
    known = with_power(fixed, np.clip((whole[:, POWER] - 5.0) / 1195.0, 0.0, LOAD_MAX))
    for end in (400, 433, 470, 500, 777):
        temp = whole[max(end - 384, 0) : end, TEMPERATURE]
        row = features(known[end - 1 : end], temp[-2:-1], memories(temp[:-1])[-1:])
        miss_k = temp[-1] - temp[-2] - (row @ learned_)[0]
        assert last_miss_k(model, history_of(whole[:end], end)) == pytest.approx(miss_k, abs=1e-9)
    whole[499, POWER] = np.nan
    assert np.isnan(last_miss_k(model, history_of(whole[:500], 500)))
    assert np.isnan(last_miss_k(model, history_of(whole[:1], 1)))


def test_a_copy_of_a_history_does_not_grow() -> None:
    history = lived()
    copy = History(history.values, history.last)
    history.add(history.last + 1, [25.0] * COLUMNS)
    assert len(history) == len(copy) + 1
    assert history.row(copy.last).tobytes() == copy.newest.tobytes()


def test_a_history_is_bounded_and_fills_its_holes() -> None:
    history = History()
    row = [25.0] * (COLUMNS - 2) + [7.0, np.nan]
    history.add(10, row)
    history.add(14, row)
    history.add(14, row)
    assert len(history) == 5
    assert np.isnan(rows(history)[1:4, TEMPERATURE]).all()
    assert (history.row(10).tolist()[:6], history.row(14)[TEMPERATURE]) == (row[:6], 25.0)
    history.add(14 + 100_000, row)
    assert len(history) == 28 * 96


def test_a_quarter_keeps_the_last_minutes_of_the_temperature_and_nothing_for_nothing() -> None:
    quarter = OpenQuarter()
    for minute in range(1, 16):
        quarter.sample(minute * 60_000, {TEMPERATURE: 20.0 + minute, POWER: 100.0 * minute})
    row = quarter.close()
    assert QUARTER_MS == 900_000
    assert row[TEMPERATURE] == pytest.approx(20 + (11 + 12 + 13 + 14 + 15) / 5)
    assert row[POWER] == pytest.approx(800.0)
    assert np.isnan(quarter.close()[TEMPERATURE])


def test_a_quarter_of_few_samples_has_the_last_of_its_last_ten_minutes() -> None:
    quarter = OpenQuarter()
    quarter.sample(4 * 60_000, {TEMPERATURE: 20.0})
    assert np.isnan(quarter.close()[TEMPERATURE])
    quarter.sample(6 * 60_000, {TEMPERATURE: 21.0})
    quarter.sample(9 * 60_000, {TEMPERATURE: 22.0})
    assert quarter.close()[TEMPERATURE] == 22.0
    assert np.isnan(quarter.close()[TEMPERATURE])
