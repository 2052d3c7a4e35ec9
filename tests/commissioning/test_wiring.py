"""The wiring check against circuits in phasors: right ones give no finding, each fault is found."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.commissioning.metering import MeterReading, Site, reading_of
from agent.commissioning.wiring import Confidence, Fault, Finding, check, is_usable
from tests.commissioning.circuits import Circuit, Load, circuit, meter, three, without_reactive

WATTS = st.floats(300, 20_000)
LAGGING = st.floats(-5, 40)
NO_PV, PV = Site(generation=False), Site(generation=True)


def phase_loads(angles: st.SearchStrategy[float] = LAGGING) -> st.SearchStrategy[list[Load]]:
    return st.tuples(*(st.builds(Load, WATTS, angles, st.just(k)) for k in range(3))).map(list)


def between_phases(share: float) -> st.SearchStrategy[list[Load]]:
    """Showers and air conditioners at 220 V in a 127/220 V building."""
    each = (
        st.builds(Load, st.floats(0, 20_000 * share), st.floats(0, 45), st.just(k), st.just((k + 1) % 3))
        for k in range(3)
    )
    return st.tuples(*each).map(list)


VOLTS = st.tuples(*(st.floats(122, 132) for _ in range(3)))
# Any building: phases loaded as it comes, some not at all, power factors from leading to poor.
ANY_BUILDING = st.builds(
    lambda star, delta, volts: circuit(star + delta, volts),
    st.lists(st.builds(Load, st.floats(0, 20_000), st.floats(-30, 65), st.integers(0, 2)), max_size=6),
    between_phases(1.0),
    VOLTS,
)
# One with load enough on every phase to conclude from.
BUILDING = st.builds(
    lambda star, delta, volts: circuit(star + delta, volts),
    st.floats(1000, 20_000).flatmap(
        lambda watts: st.tuples(
            *(st.builds(Load, st.floats(0.5 * watts, watts), LAGGING, st.just(k)) for k in range(3))
        ).map(list)
    ),
    between_phases(0.02),
    VOLTS,
)


@given(ANY_BUILDING)
def test_a_right_meter_gives_no_finding(now: Circuit) -> None:
    reading = meter(now, tells_sequence=True)
    for site in (Site(), NO_PV, PV):
        assert check([reading], site) == []
        assert check([without_reactive(reading)], site) == []


@given(
    phase_loads(st.floats(0, 45)),
    st.lists(st.tuples(st.floats(0, 30_000), st.floats(-5, 5)), min_size=1, max_size=3),
)
def test_export_gives_no_finding_where_generation_was_told(
    loads: list[Load], inverters: list[tuple[float, float]]
) -> None:
    feeding = [Load(-watts, angle, k) for k, (watts, angle) in enumerate(inverters)]
    reading = meter(circuit(loads + feeding))
    assert check([reading], PV) == []
    assert check([without_reactive(reading)], PV) == []


@given(phase_loads(st.floats(5, 45)), st.floats(20_000, 60_000))
def test_export_is_at_most_hinted_at_where_nobody_said(loads: list[Load], watts: float) -> None:
    reading = meter(circuit([*loads, *(Load(-watts, 0, k) for k in range(3))]))
    assert all(finding.confidence is Confidence.LOW for finding in check([reading]))


@pytest.mark.parametrize("angle", [85.0, 89.5, -85.0, -89.5])
def test_near_power_factor_0_nothing_is_said(angle: float) -> None:
    """Capacitors alone, or motors that idle: small watts at large var."""
    now = circuit([Load(20, angle, k) for k in range(3)])
    assert min(map(abs, now.amps)) > 0.1
    for kind in (meter(now), without_reactive(meter(now)), meter(now, turned=(True, False, False))):
        assert check([kind], NO_PV) == []


@given(ANY_BUILDING, st.permutations([0, 1, 2]), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_at_low_load_nothing_is_said(now: Circuit, order: list[int], turned: tuple[bool, bool, bool]) -> None:
    most_a = max(map(abs, now.amps)) or 1.0
    idle = replace(now, amps=(*(amp / most_a * 0.09 for amp in now.amps),))
    assert check([meter(idle, amps_from=(*order,), turned=turned)], NO_PV) == []
    some = replace(now, amps=(*(amp / most_a * 1.9 for amp in now.amps),))
    site = replace(NO_PV, ct_primary_a=200.0)
    assert check([meter(some, amps_from=(*order,), turned=turned)], site) == []


def the(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def found(findings: list[Finding], fault: Fault, phases: tuple[int, ...]) -> Finding:
    """The finding, which is among the first: alone, or one of several as likely."""
    hits = [each for each in findings if (each.fault, each.phases) == (fault, phases)]
    assert hits, findings
    assert hits[0].confidence == max(each.confidence for each in findings)
    return hits[0]


TURNED = {0: (True, False, False), 1: (False, True, False), 2: (False, False, True)}


@given(BUILDING, st.sampled_from([0, 1, 2]), st.booleans())
def test_a_reversed_transformer_is_found(now: Circuit, phase: int, tells: bool) -> None:
    reading = meter(now, turned=TURNED[phase], tells_sequence=tells)
    finding = the(check([reading], NO_PV))
    assert (finding.fault, finding.phases) == (Fault.CT_REVERSED, (phase,))
    assert finding.confidence >= Confidence.MEDIUM
    found(check([without_reactive(reading)], NO_PV), Fault.CT_REVERSED, (phase,))
    found(check([reading]), Fault.CT_REVERSED, (phase,))  # though perhaps only as a hint


SWAPS = {(0, 1): (1, 0, 2), (1, 2): (0, 2, 1), (0, 2): (2, 1, 0)}


@given(BUILDING, st.sampled_from(list(SWAPS)))
def test_swapped_currents_are_found(now: Circuit, pair: tuple[int, int]) -> None:
    reading = meter(now, amps_from=SWAPS[pair], tells_sequence=True)
    finding = the(check([reading], NO_PV))
    assert (finding.fault, finding.phases) == (Fault.CURRENTS_SWAPPED, pair)
    assert finding.currents == SWAPS[pair]
    assert finding.confidence >= Confidence.MEDIUM
    silent = meter(now, amps_from=SWAPS[pair])  # a meter that tells neither angles nor sequence
    found(check([silent], NO_PV), Fault.CURRENTS_SWAPPED, pair)
    found(check([without_reactive(silent)], NO_PV), Fault.CURRENTS_SWAPPED, pair)


@given(BUILDING, st.sampled_from(list(SWAPS)))
def test_swapped_voltages_are_told_from_swapped_currents(now: Circuit, pair: tuple[int, int]) -> None:
    reading = meter(now, volts_from=SWAPS[pair], tells_sequence=True)
    finding = the(check([reading], NO_PV))
    assert (finding.fault, finding.phases) == (Fault.VOLTAGES_SWAPPED, pair)


@given(BUILDING)
def test_all_transformers_reversed_are_found(now: Circuit) -> None:
    finding = found(
        check([meter(now, turned=(True, True, True), tells_sequence=True)], NO_PV),
        Fault.ALL_CTS_REVERSED,
        (0, 1, 2),
    )
    assert finding.reversed_ == (True, True, True)


@given(BUILDING, st.sampled_from([(1, 2, 0), (2, 0, 1)]))
def test_rotated_currents_are_found_unless_they_look_like_power_factor_0(
    now: Circuit, order: tuple[int, int, int]
) -> None:
    reading = meter(now, amps_from=order, tells_sequence=True)
    degs = [
        math.degrees(math.atan2(var, watts))
        for var, watts in zip(reading.reactive_power_var, reading.active_power_w, strict=True)
    ]
    if all(-103 < deg < -77 for deg in degs) or (
        all(-103 < deg < -58 for deg in degs) and max(degs) - min(degs) > 14
    ):
        return  # as capacitors do
    finding = found(check([reading], NO_PV), Fault.CURRENTS_ROTATED, (0, 1, 2))
    assert finding.currents == order


@given(BUILDING, st.sampled_from([(1, 2, 0), (0, 2, 1)]))
def test_sequence(now: Circuit, order: tuple[int, int, int]) -> None:
    """Voltages and currents moved together: powers are right, only the sequence may be not."""
    reading = meter(now, volts_from=order, amps_from=order, tells_sequence=True)
    faults = [finding.fault for finding in check([reading], NO_PV)]
    assert faults == ([Fault.SEQUENCE_REVERSED] if order == (0, 2, 1) else [])
    told = replace(meter(now, volts_from=order, amps_from=order), sequence=-1.0)
    assert [finding.fault for finding in check([told], NO_PV)] == [Fault.SEQUENCE_REVERSED]


BALANCED = circuit([Load(5000, 25, k) for k in range(3)])
GOOD = meter(BALANCED)


def test_two_faults_at_once_are_a_hint() -> None:
    reading = meter(BALANCED, turned=(True, True, False))
    finding = found(check([reading], NO_PV), Fault.SEVERAL_CTS, (0, 1))
    assert finding.confidence is Confidence.LOW
    reading = meter(BALANCED, amps_from=(1, 0, 2), turned=(False, False, True))
    findings = check([reading], NO_PV)
    assert any(each.reversed_ == (False, False, True) and each.currents == (1, 0, 2) for each in findings)


@pytest.mark.parametrize("degs", [(110, 110, 0), (110, -20, 70), (-120, -120, 10)])
def test_what_no_single_mistake_explains_is_a_hint(degs: tuple[float, float, float]) -> None:
    watts = [5000 * math.cos(math.radians(deg)) for deg in degs]
    var = [5000 * math.sin(math.radians(deg)) for deg in degs]
    reading = replace(
        GOOD,
        current_a=(5000 / 127,) * 3,
        active_power_w=three(watts),
        reactive_power_var=three(var),
        total_active_power_w=sum(watts),
    )
    findings = check([reading], NO_PV)
    assert findings
    for finding in findings:
        assert finding.fault in (Fault.SEVERAL_CTS, Fault.UNEXPLAINED_ANGLES)
        assert finding.confidence is Confidence.LOW


def test_several_readings_must_agree() -> None:
    """A lift that feeds in once is not a reversed transformer; a reversed one always shows."""
    bad = meter(BALANCED, turned=TURNED[1])
    assert check([bad, GOOD, GOOD], NO_PV) == []
    more = [meter(circuit([Load(watts, 20, k) for k in range(3)]), turned=TURNED[1]) for watts in (500, 900)]
    finding = the(check([bad, *more], NO_PV))
    assert (finding.fault, finding.seen_in, finding.of) == (Fault.CT_REVERSED, 3, 3)
    idle = meter(circuit([Load(1, 0, k) for k in range(3)]), turned=TURNED[1])
    assert the(check([bad, idle, idle], NO_PV)).of == 1  # idle readings are no witnesses
    assert is_usable(bad)
    assert not is_usable(idle)


def volts(l1: float, l2: float, l3: float, *between: float) -> MeterReading:
    idle = circuit([Load(1, 0, k) for k in range(3)])
    more: dict[str, Any] = {"line_voltage_v": between} if between else {"line_voltage_v": (math.nan,) * 3}
    return replace(meter(idle), voltage_v=(l1, l2, l3), **more)


@pytest.mark.parametrize(
    ("reading", "fault", "phases", "confidence"),
    [
        (volts(127, 2, 128), Fault.PHASE_MISSING, (1,), Confidence.HIGH),
        (volts(127, 0, 0), Fault.PHASE_MISSING, (1, 2), Confidence.HIGH),
        (volts(220, 221, 60, 381, 200, 210), Fault.PHASE_MISSING, (2,), Confidence.HIGH),
        (volts(0, 220, 219, 220, 220, 219), Fault.NEUTRAL_ON_PHASE, (0,), Confidence.HIGH),
        (volts(95, 150, 140, 220, 221, 219), Fault.NEUTRAL_OPEN, (0, 1, 2), Confidence.HIGH),
        (volts(95, 150, 140), Fault.NEUTRAL_OPEN, (0, 1, 2), Confidence.MEDIUM),
        (volts(115, 115, 200), Fault.HIGH_LEG, (2,), Confidence.LOW),
    ],
)
def test_voltages(
    reading: MeterReading, fault: Fault, phases: tuple[int, ...], confidence: Confidence
) -> None:
    finding = the(check([reading]))
    assert (finding.fault, finding.phases, finding.confidence) == (fault, phases, confidence)


@pytest.mark.parametrize(
    "reading",
    [
        volts(127, 126, 129),
        volts(118, 127, 131),  # a bad day of the distributor
        volts(221.9, 230.2, 233.4),  # device-facts 5 no. 9, a real meter
        volts(0, 0, 0),  # no mains, or a meter of three wires
        volts(math.nan, 127, 127),
        volts(277, 278, 276, 480, 481, 479),
    ],
)
def test_usual_voltages_give_no_finding(reading: MeterReading) -> None:
    assert check([reading]) == []


def test_a_real_meter_gives_no_finding() -> None:
    """device-facts 5 no. 9: an SDM630's readings."""
    values = {
        "voltage_l1": 221.917, "voltage_l2": 230.169, "voltage_l3": 233.361,
        "current_l1": 3.5804, "current_l2": 5.1485, "current_l3": 4.9057,
        "active_power_l1": 754.75, "active_power_l2": 1183.51, "active_power_l3": 1141.65,
        "active_power": 3079.91,
    }  # fmt: skip
    assert check([reading_of(values)]) == []
    turned = values | {"active_power_l2": -1183.51, "active_power": 712.89}
    assert the(check([reading_of(turned)], NO_PV)).phases == (1,)


def test_an_angle_per_phase_stands_in_for_reactive_power() -> None:
    values = {f"voltage_l{k}": 127.0 for k in (1, 2, 3)} | {f"current_l{k}": 10.0 for k in (1, 2, 3)}
    degs = {1: 25 + 120, 2: 25 - 120, 3: 25}
    for k, deg in degs.items():
        values |= {f"phase_angle_l{k}": deg, f"active_power_l{k}": 1270 * math.cos(math.radians(deg))}
    assert the(check([reading_of(values)], NO_PV)).currents == (1, 0, 2)


def test_ratios() -> None:
    secondary = replace(GOOD, active_power_w=(250.0, 250.0, 250.0), reactive_power_var=(116.0,) * 3)
    finding = found(check([secondary]), Fault.POWER_RATIO, (0, 1, 2))
    assert finding.number == pytest.approx(0.05, rel=0.01)  # a CT of 100/5
    assert finding.confidence is Confidence.HIGH
    kilowatts = replace(without_reactive(GOOD), active_power_w=(5.0, 5.0, 5.0), power_factor=(0.906,) * 3)
    assert found(check([kilowatts]), Fault.POWER_RATIO, (0, 1, 2)).number == pytest.approx(0.001, rel=0.01)
    harmonics = replace(GOOD, active_power_w=(3800.0, 3700.0, 3600.0), total_active_power_w=11_100.0)
    assert check([harmonics]) == []


def test_the_clamp_and_the_plate_of_the_transformer() -> None:
    amps = GOOD.current_a[0]
    clamped = Site(clamp_a=(amps * 2, amps * 2.02, amps * 1.97))
    finding = the(check([GOOD], clamped))
    assert finding.fault is Fault.CT_RATIO
    assert finding.number == pytest.approx(0.5, rel=0.02)
    assert check([GOOD], Site(clamp_a=(amps * 1.05, amps, amps * 0.95))) == []
    assert the(check([GOOD], Site(ct_primary_a=20))).fault is Fault.CT_RATING
    assert check([GOOD], Site(ct_primary_a=100)) == []
    assert the(check([GOOD], Site(nominal_v=220))).fault is Fault.VOLTAGE_RATIO


def test_totals() -> None:
    assert check([replace(GOOD, total_active_power_w=15_200.0)]) == []
    other = replace(GOOD, total_active_power_w=5000.0)
    finding = the(check([other]))
    assert (finding.fault, len(finding.phases)) == (Fault.TOTAL, 1)
    scaled = the(check([replace(GOOD, total_active_power_w=15.0)]))
    assert (scaled.fault, scaled.phases) == (Fault.TOTAL, ())
    magnitudes = replace(meter(BALANCED, turned=TURNED[2]), total_active_power_w=15_000.0)
    assert {finding.fault for finding in check([magnitudes], NO_PV)} == {Fault.CT_REVERSED, Fault.TOTAL}


@given(
    st.lists(
        st.builds(
            MeterReading,
            *(st.tuples(*(st.floats(allow_infinity=False) for _ in range(3))) for _ in range(6)),
        ),
        max_size=3,
    )
)
def test_any_numbers_are_survived(readings: list[MeterReading]) -> None:
    check(readings)
    check(readings, PV)


def test_voltages_of_next_to_nothing_are_survived() -> None:
    for volts in ((0.0, 0.0, 5e-324), (5e-324, 5e-324, 5e-324), (0.0, 1e-300, 1e-300)):
        assert check([MeterReading(volts, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))]) == []
