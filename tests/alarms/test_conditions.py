"""Each condition as a table; delays and hysteresis step by step."""

from __future__ import annotations

import math
from typing import Any

import pytest

from agent.alarms import conditions
from agent.alarms.conditions import Delay, Rate
from agent.alarms.rules import DeviationRule, ExpressionRule, LimitRule, RateRule, StateRule

NAN = math.nan
LIMITS = LimitRule(
    name="v", kind="limit", point="m.v", high_high=135.0, high=133.0, low=117.0, low_low=110.0, hysteresis=2.0
)


@pytest.mark.parametrize(
    ("level", "value", "raised", "says"),
    [
        ("high", 133.0, False, False),  # the limit itself is allowed
        ("high", 133.1, False, True),
        ("high", 131.1, True, True),  # not yet back by the hysteresis
        ("high", 131.0, True, False),
        ("high", 132.0, False, False),
        ("low", 117.0, False, False),
        ("low", 116.9, False, True),
        ("low", 118.9, True, True),
        ("low", 119.0, True, False),
        ("high_high", 135.1, False, True),
        ("low_low", 109.9, False, True),
        ("high", NAN, True, None),
        ("low", NAN, False, None),
    ],
)
def test_limits(level: str, value: float, raised: bool, says: bool | None) -> None:
    assert conditions.limit(LIMITS, level)((value,), 0, raised) is says


@pytest.mark.parametrize(
    ("values", "raised", "says"),
    [((10, 15), False, False), ((10, 15.1), False, True), ((15.1, 10), False, True), ((10, 14.5), True, True),
     ((10, 14.0), True, False), ((NAN, 1), True, None), ((1, NAN), False, None)],
)  # fmt: skip
def test_deviation(values: tuple[float, float], raised: bool, says: bool | None) -> None:
    rule = DeviationRule(name="d", kind="deviation", point="a.x", other="b.x", most=5.0, hysteresis=1.0)
    assert conditions.deviation(rule)(values, 0, raised) is says


@pytest.mark.parametrize(("value", "says"), [(2.0, True), (3.0, True), (1.0, False), (NAN, None)])
def test_state(value: float, says: bool | None) -> None:
    rule = StateRule(name="s", kind="state", point="a.mode", states=[2, 3])
    assert conditions.state(rule)((value,), 0, False) is says


@pytest.mark.parametrize(("value", "says"), [(2.0, True), (0.0, False), (NAN, None)])
def test_expression(value: float, says: bool | None) -> None:
    rule = ExpressionRule(name="e", kind="expression", when="a.x > 1")
    assert conditions.expression(rule)((value,), 0, False) is says


def rate(**options: Any) -> Rate:
    return Rate(RateRule(name="r", kind="rate", point="a.x", window_s=60.0, **options))


def test_a_rate_needs_half_a_window_and_is_measured_over_all_of_it() -> None:
    rising = rate(per_s=0.1)
    assert rising((20.0,), 0, False) is None
    assert rising((30.0,), 29_999, False) is None
    assert rising((30.0,), 30_000, False) is True
    assert rising((20.0 + 0.1 * 61,), 61_000, False) is not None


def test_a_step_up_is_over_when_it_leaves_the_window() -> None:
    rising, said = rate(per_s=0.1), []
    for second in range(180):
        value = 20.0 if second < 60 else 30.0
        said.append(rising((value,), second * 1000, False))
    assert said[59] is False
    assert said[60] is True
    assert said[115] is True
    assert said[-1] is False


def test_falling_is_another_rule() -> None:
    falling = rate(per_s=-0.1)
    said = [falling((100.0 - second,), second * 1000, False) for second in range(61)]
    assert said[60] is True
    rising = rate(per_s=0.1)
    assert [rising((100.0 - second,), second * 1000, False) for second in range(61)][60] is False


def test_a_clock_that_was_set_is_not_a_rate() -> None:
    rising = rate(per_s=0.1)
    for second in range(60):
        rising((20.0,), second * 1000, False)
    assert rising((99.0,), -1_000_000, False) is None
    assert rising((99.0,), 5_000_000, False) is None


def test_a_rate_remembers_a_bounded_number_of_samples() -> None:
    rising = rate(per_s=0.1)
    for at in range(200_000):
        rising((20.0,), at, False)  # 1000 a second
    assert len(rising._samples) <= 64
    assert rising((20.0,), 200_000, False) is False


def test_a_value_that_is_missing_says_nothing_of_the_rate() -> None:
    rising = rate(per_s=0.1)
    rising((20.0,), 0, False)
    assert rising((NAN,), 40_000, False) is None
    assert rising((30.0,), 41_000, False) is True


def test_delays_count_without_a_break() -> None:
    delay = Delay(5, 10)
    assert not delay.step(True, 0)
    assert not delay.step(True, 4.9)
    assert not delay.step(False, 4.95)  # a break: it begins anew
    assert not delay.step(True, 5)
    assert not delay.step(None, 7)  # not known: it begins anew
    assert not delay.step(True, 8)
    assert delay.waiting
    assert delay.step(True, 13)
    assert delay.raised
    assert not delay.waiting
    assert not delay.step(False, 14)
    assert not delay.step(True, 20)
    assert not delay.step(False, 21)
    assert delay.step(False, 31)
    assert not delay.raised


def test_without_delays_it_follows_at_once() -> None:
    delay = Delay(0, 0)
    assert delay.step(True, 0)
    assert not delay.step(True, 0)
    assert not delay.step(None, 0)
    assert delay.raised
    assert delay.step(False, 0)
