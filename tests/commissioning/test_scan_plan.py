"""The order of a scan: everything once, the likely first, the time told beforehand."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import pytest

from agent.commissioning.scan_plan import (
    ANY_UNITS,
    LIKELY,
    LIKELY_UNITS,
    SETTINGS,
    UNITS,
    duration_s,
    probes,
    settings_of,
    timeout_s,
    total_s,
    with_factory_settings,
)
from tests.drivers.profiles.datasheets import DATASHEETS
from tests.drivers.profiles.reading import FILES, modbus


def test_settings() -> None:
    settings = settings_of("19200 8E1")
    assert (settings.baudrate, settings.bytesize, settings.parity, settings.stopbits) == (19200, 8, "E", 1)
    assert str(settings) == "19200 8E1"
    assert settings.byte_s == 11 / 19200
    assert settings_of("9600 8N1").byte_s == 10 / 9600
    with pytest.raises(ValueError, match="expected settings like '9600 8N1', found '9600'"):
        settings_of("9600")


def test_what_is_likely_comes_first() -> None:
    assert [str(each) for each in SETTINGS[:4]] == ["9600 8N1", "2400 8N1", "9600 8E1", "19200 8E1"]
    first = [probe.unit_id for probe in islice(probes(), 10)]
    assert first == list(range(1, 11))
    order = [(probe.settings, probe.unit_id) for probe in probes()]
    assert order.index((settings_of("19200 8E1"), 1)) < order.index((settings_of("9600 8N1"), 33))
    assert order.index((settings_of("38400 8E1"), 1)) < order.index((settings_of("9600 8N1"), 33))


def test_every_pair_is_asked_once() -> None:
    counts = Counter((probe.settings, probe.unit_id, probe.table) for probe in probes())
    assert set(counts.values()) == {1}
    assert {(s, u) for s, u, table in counts if table == "holding"} == {
        (s, u) for s in SETTINGS for u in UNITS
    }
    inputs = {(s, u) for s, u, table in counts if table == "input"}
    assert inputs == {(s, u) for s in LIKELY for u in (*LIKELY_UNITS, *ANY_UNITS)}
    assert {probe.unit_id for probe in probes() if probe.any_unit} == set(ANY_UNITS)
    assert set(UNITS) == set(range(1, 248))


def test_the_port_is_not_set_anew_for_every_question() -> None:
    changes = sum(a.settings != b.settings for a, b in pairwise(probes()))
    assert changes < 4 * len(SETTINGS)


def test_time() -> None:
    slow, fast = settings_of("2400 8N1"), settings_of("38400 8N1")
    assert timeout_s(slow) == pytest.approx(0.15 + 9 * 10 / 2400)
    assert duration_s(slow) > duration_s(fast)
    some = list(probes((fast, slow), (1, 2), any_units=()))
    assert all(a.after_s < b.after_s for a, b in pairwise(some))
    assert total_s((fast, slow), (1, 2), any_units=()) == pytest.approx(
        some[-1].after_s + duration_s(some[-1].settings)
    )
    # The likely ones take a coffee, everything the night.
    assert total_s(LIKELY, LIKELY_UNITS) < 90
    assert 600 < total_s() < 4 * 3600
    assert total_s((), ()) == 0


def test_only_the_settings_that_were_asked_for() -> None:
    rare = settings_of("57600 8E1")
    some = list(probes((rare,), (7, 200)))
    assert {probe.settings for probe in some} == {rare}
    assert {probe.unit_id for probe in some if not probe.any_unit} == {7, 200}


def test_profiles_say_what_devices_come_with() -> None:
    serials = [serial for name in DATASHEETS for serial in modbus(name).serial]
    assert {settings_of(serial) for serial in serials} <= set(SETTINGS)
    odd = with_factory_settings(["9600 8N1", "31250 8N1", "31250 8N1"])
    assert odd == (*SETTINGS, settings_of("31250 8N1"))
    assert FILES
