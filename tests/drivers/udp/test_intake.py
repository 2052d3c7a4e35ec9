"""Datagrams in, readings out: what is taken, what is refused and why, what is told to the module."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.udp import text
from agent.drivers.udp.intake import AHEAD_MS_MAX, Intake, Now
from agent.drivers.udp.keys import Key
from agent.drivers.udp.packed import Layout
from agent.model import Quality

from .lab import KEY, NOW_MS, Core, datagram, first_values, sender

OTHER = bytes(range(1, 33))


def signed(key: bytes = KEY, **body: Any) -> bytes:
    whole = {"id": "mod-1", "boot": 1, "seq": 1, "values": {"temperature": 21.5}} | body
    return text.sign(whole, Key(key))


def plain(**body: Any) -> bytes:
    return orjson.dumps({"id": "mod-1", "seq": 1, "values": {"temperature": 21.5}} | body)


# ---------------------------------------------------------------- values, time, validity


def test_a_sample_is_a_reading_with_its_own_time() -> None:
    core, module = Core(), sender()
    module.sample((21.3, float("nan")), 1000)
    (reading,) = core.take(module.datagram(1500, NOW_MS - 200))
    assert (reading.time_ms, reading.quality) == (NOW_MS - 200 - 500, Quality.GOOD)
    assert reading.values[0] == 21.3  # the shortest decimal of the 32-bit float
    assert math.isnan(reading.values[1])


def test_without_a_clock_it_is_dated_by_its_arrival_and_age() -> None:
    core, module = Core(), sender()
    module.sample((1, 2), 1000)
    (reading,) = core.take(module.datagram(4000, 0))
    assert (reading.time_ms, reading.quality) == (NOW_MS - 3000, Quality.GOOD)


def test_a_wrong_clock_does_not_date_a_reading_and_makes_it_uncertain() -> None:
    core = Core()
    for taken in (core.take(datagram(sender(), unix_ms=1000)), core.take(signed(boot=2, ts=2**52))):
        assert [(each.time_ms, each.quality) for each in taken] == [(NOW_MS, Quality.UNCERTAIN)]
    assert core.counters["clock_wrong"] == 2


def test_what_is_sent_in_the_future_is_not_believed() -> None:
    core, module = Core(), sender()
    (near,) = core.take(datagram(module, unix_ms=NOW_MS + AHEAD_MS_MAX))
    assert (near.time_ms, near.quality) == (NOW_MS + AHEAD_MS_MAX, Quality.GOOD)
    (far,) = core.take(datagram(module, unix_ms=NOW_MS + AHEAD_MS_MAX + 1))
    assert (far.time_ms, far.quality) == (NOW_MS, Quality.UNCERTAIN)


def test_while_our_own_clock_may_be_wrong_only_the_distances_of_the_modules_count() -> None:
    """All that is stamped now is shifted alike later, so nothing may bring a true time of its own in."""
    core, module = Core(), sender(repeat=1)
    core.now = Now(NOW_MS, 1000.0, certain=False)
    real_ms = NOW_MS + 3_600_000
    (first,) = core.take(datagram(module, unix_ms=real_ms))
    late = datagram(module, unix_ms=real_ms + 1000)
    core.now = Now(NOW_MS + 2000, 1002.0, certain=False)
    (newest,) = core.take(datagram(module, unix_ms=real_ms + 2000))
    (again,) = core.take(late)
    assert [each.time_ms - NOW_MS for each in (first, again, newest)] == [0, 1000, 2000]
    assert newest.quality is again.quality is Quality.GOOD
    assert "clock_wrong" not in core.counters
    (set_back,) = core.take(datagram(module, unix_ms=1_000_000))
    assert set_back.time_ms == NOW_MS + 2000


def test_the_sender_says_how_good_a_sample_is() -> None:
    core, module = Core(), sender()
    module.sample((1, 2), 0, 1)
    module.sample((3, 4), 0, 0)
    uncertain, bad = core.take(module.datagram(0))
    assert (uncertain.quality, first_values([uncertain])) == (Quality.UNCERTAIN, [1])
    assert bad.quality is Quality.BAD
    assert all(map(math.isnan, bad.values))
    word = core.take(signed(boot=2, quality="uncertain"))
    assert word[0].quality is Quality.UNCERTAIN


def test_the_sender_says_how_long_its_values_stand() -> None:
    core, module = Core(silence_s=60), sender(valid_s=5)
    core.take(datagram(module))
    assert core.intake.silent(Now(NOW_MS, core.now.s + 4)) == []
    (bad,) = core.intake.silent(Now(NOW_MS, core.now.s + 6))
    assert bad.quality is Quality.BAD
    assert core.intake.silent(Now(NOW_MS, core.now.s + 10)) == []
    assert len(core.intake.silent(Now(NOW_MS, core.now.s + 12))) == 1
    unsaid = Core(silence_s=60)
    unsaid.take(datagram(sender()))
    assert unsaid.intake.silent(Now(NOW_MS, core.now.s + 59)) == []


def test_infinite_values_are_not_available() -> None:
    (reading,) = Core().take(datagram(sender(), (math.inf, 5.0)))
    assert math.isnan(reading.values[0])
    assert reading.values[1] == 5.0


def test_json_with_samples_and_a_key_that_the_profile_lacks() -> None:
    samples = [{"n": 1, "age_ms": 500, "values": {"temperature": 1, "volt": 3}}, {"n": 2, "values": {}}]
    core = Core()
    one, two = core.take(signed(seq=2, ts=NOW_MS, values=None, samples=samples))
    assert (one.time_ms, two.time_ms) == (NOW_MS - 500, NOW_MS)
    assert one.values[0] == 1
    assert all(map(math.isnan, two.values))
    assert core.counters == {"unknown_point": 1}


# ---------------------------------------------------------------- once, and in any order


def test_repeated_samples_are_published_once_and_late_ones_with_their_own_time() -> None:
    core, module = Core(), sender(repeat=1)
    sent = [datagram(module, (at, 0), at_ms=1000 * at, unix_ms=NOW_MS) for at in range(1, 6)]
    taken = core.take(*(sent[at] for at in (0, 1, 3, 4, 2)))
    assert first_values(taken) == [1, 2, 4, 5, 3]
    assert core.counters == {"reordered": 1}
    assert core.take(*sent) == []
    assert core.counters == {"reordered": 1, "repeated": 5}


def test_redundancy_fills_a_gap() -> None:
    core, module = Core(), sender(repeat=3)
    sent = [datagram(module, (at, 0)) for at in range(1, 8)]
    assert first_values(core.take(sent[0], sent[3], sent[6])) == [1, 2, 3, 4, 5, 6, 7]


def test_losses_are_counted_per_module_and_line() -> None:
    core, module = Core(), sender(repeat=1, wants_ack=False)
    sent = [datagram(module, (at, 0)) for at in range(1, 300)]
    taken = core.take(*sent[:10], *sent[20:])
    assert len(taken) == len(sent) - 10
    assert core.counters == {"lost": 10, "samples_lost": 10}
    core.take(sent[-1])
    assert core.module.counters == core.intake.counters == {"lost": 10, "samples_lost": 10, "repeated": 1}


STEPS = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(["send", "skip", "again", "late", "flip", "boot"]))
)


class LongWay(Intake):
    """Without the short cut for the usual datagram."""

    def _take_usual(self, *_: object) -> bool:
        return False


@given(STEPS, st.booleans(), st.integers(1, 4))
def test_the_short_way_does_as_the_long_way(steps: list[tuple[int, str]], acks: bool, repeat: int) -> None:
    short, long = Core(), Core()
    long.intake = LongWay("wifi", [long.module], 7 * 86_400_000)
    long.intake.rekey({"mod-1": [Key(KEY)]})
    boot, sent = 1, []
    module = sender(boot, repeat=repeat, wants_ack=acks)
    for number, (which, step) in enumerate(steps):
        if step == "boot":
            boot += which % 2
            module = sender(boot, repeat=repeat, wants_ack=acks)
        sent.append(datagram(module, (number, number / 8), at_ms=number, unix_ms=NOW_MS * (which % 3 > 0)))
        data = {"skip": b"", "again": sent[-1 - which % len(sent)]}.get(step, sent[-1])
        if step == "flip":
            data = bytes((*data[:which], data[which] ^ 1, *data[which + 1 :]))
        if step == "late" and len(sent) > 2:
            sent[-1], sent[-3] = sent[-3], sent[-1]
        assert [each[1:] for each in short.take(data)] == [each[1:] for each in long.take(data)]
        assert short.intake.exact() == long.intake.exact()
    assert short.counters == long.counters
    assert short.replies == long.replies


# ---------------------------------------------------------------- what is refused


def test_forged_flipped_truncated_and_foreign_datagrams_are_refused_and_counted() -> None:
    core, module = Core(), sender()
    good = datagram(module)
    refused = 0
    for at in range(len(good)):
        for bit in range(8):
            assert core.take(bytes((*good[:at], good[at] ^ 1 << bit, *good[at + 1 :]))) == []
            refused += 1
    for size in range(len(good)):
        assert core.take(good[:size]) == []
        refused += 1
    assert core.take(datagram(sender(key=OTHER))) == []
    assert core.take(signed(OTHER)) == []
    assert sum(core.counters.values()) == refused + 2
    assert set(core.counters) <= {"forged", "malformed", "unknown_key"}
    assert core.replies == []
    assert len(core.take(good)) == 1


def test_a_signed_json_datagram_is_bound_to_every_byte_of_it() -> None:
    core, good = Core(), signed()
    for at in range(len(good)):
        assert core.take(bytes((*good[:at], good[at] ^ 1, *good[at + 1 :]))) == []
    assert len(core.take(good)) == 1
    assert core.take(good) == []
    assert core.counters["repeated"] == 1


def test_a_module_cannot_speak_for_another() -> None:
    core = Core()
    assert core.take(signed(id="mod-2")) == []
    assert core.counters == {"malformed": 1}


def test_another_layout_is_refused_and_said(caplog: pytest.LogCaptureFixture) -> None:
    core = Core()
    module = sender()
    module._layout += 1
    assert core.take(datagram(module)) == []
    assert core.counters == {"other_layout": 1}
    assert "its points are not of its profile" in caplog.text


def test_the_layout_id_is_that_of_the_documentation() -> None:
    assert f"{Layout.of(['temperature', 'humidity', 'co2', 'battery']).id:08x}" == "08d2dca9"


def test_an_older_boot_is_refused_and_a_newer_one_begins_anew() -> None:
    core, first, second = Core(), sender(1), sender(2)
    old = [datagram(first) for _ in range(5)]
    core.take(*old[:3])
    assert len(core.take(datagram(second))) == 1
    assert core.take(*old) == []
    assert core.counters == {"old_boot": 5}


def test_unsigned_is_refused_unless_allowed_and_then_marked() -> None:
    core = Core()
    assert core.take(plain()) == []
    assert core.counters == {"unsigned_refused": 1}
    allowed = Core(unsigned=True)
    (reading,) = allowed.take(plain(ts=NOW_MS - 5))
    assert (reading.time_ms, reading.quality) == (NOW_MS - 5, Quality.UNCERTAIN)
    assert first_values([reading]) == [21.5]
    assert allowed.take(plain(ts=NOW_MS - 5)) == []  # the same again
    assert allowed.counters == {"unsigned": 1, "repeated": 1}
    assert allowed.take(plain(id="mod-9")) == []
    assert allowed.take(plain(seq=2, values=None, samples=[])) == []
    assert allowed.counters == {"unsigned": 1, "repeated": 1, "unknown_device": 1, "malformed": 1}
    assert allowed.replies == []


def test_an_unsigned_module_that_restarts_counts_from_one_again() -> None:
    core = Core(unsigned=True)
    assert len(core.take(*(plain(seq=at) for at in (1, 2, 3)))) == 3
    assert core.take(plain(seq=1)) == []  # doubled on its way
    core.now = core.now._replace(s=core.now.s + 3)
    assert len(core.take(*(plain(seq=at) for at in (1, 2, 3)))) == 3
    assert core.counters == {"unsigned": 6, "repeated": 1}


BAD = [
    b"", b"hello", b"[1]", b"{", b"{}", b"\xff\xfe", b'{"id": 5, "seq": 1, "values": {}}', b"UT",
    b'{"id": "mod-1", "values": {}}', b'{"id": "mod-1", "seq": -1, "values": {}}',
    b'{"id": "mod-1", "seq": true, "values": {}}', b'{"id": "mod-1", "seq": 1, "values": [1]}',
    b'{"id": "mod-1", "seq": 1, "values": {"temperature": "21"}}',
    b'{"id": "mod-1", "seq": 1, "values": {"temperature": NaN}}',
    b'{"id": "mod-1", "seq": 1, "ts": 1.5, "values": {}}',
    b'{"id":"mod-1","seq":1,"values":{"temperature":1e999}}',
    b'{"id": "mod-1", "seq": 1, "values": {"temperature": 1}}' + b" " * 9000,
    b'{"id": "mod-1", "seq": 1, "quality": "fine", "values": {}}', b"x" * 8193,
    b"UT\x01\x01", b"UT\x01\x02" + bytes(60), b"UT\x01\x03" + bytes(60), b"UT\x02\x01" + bytes(60),
]  # fmt: skip


@pytest.mark.parametrize("data", BAD)
def test_nonsense_is_counted(data: bytes) -> None:
    core = Core(unsigned=True)
    assert core.take(data) == []
    assert core.counters == {"malformed": 1}


BAD_SIGNED: list[dict[str, Any]] = [
    {"seq": -1}, {"seq": 2**32}, {"boot": None}, {"boot": -1}, {"boot": 2**32}, {"values": None}, {"ts": -1},
    {"samples": {}}, {"samples": [1]}, {"samples": [{}]}, {"samples": [{"n": 1}]}, {"valid_s": 70000},
    {"samples": [{"n": 1, "values": {}, "age_ms": -1}]}, {"samples": [{"n": 1, "values": {}}] * 256},
    {"oldest": "x"}, {"result": 5}, {"result": {"id": 1}}, {"quality": 3}, {"id": None},
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_SIGNED)
def test_signed_nonsense_is_counted_too(body: dict[str, Any]) -> None:
    core = Core()
    assert core.take(signed(**body)) == []
    assert core.counters == {"malformed": 1}
    assert len(core.take(signed())) == 1


# ---------------------------------------------------------------- keys


def test_two_keys_live_at_once_and_the_old_one_ends_with_its_line() -> None:
    core = Core({"mod-1": [KEY, OTHER]})
    old, new = sender(1, KEY, repeat=3), sender(2, OTHER, repeat=3)
    assert len(core.take(datagram(old))) == 1
    assert len(core.take(datagram(new), datagram(old), datagram(new))) == 3
    core.intake.rekey({"mod-1": [Key(OTHER)]})
    assert core.take(datagram(old)) == []
    assert core.counters == {"unknown_key": 1}
    assert len(core.take(datagram(new))) == 1


def test_a_key_that_comes_back_is_no_hole() -> None:
    core, module = Core({"mod-1": [KEY, OTHER]}), sender()
    recorded = [datagram(module) for _ in range(10)]
    core.take(*recorded)
    core.intake.rekey({"mod-1": [Key(OTHER)]})
    core.intake.rekey({"mod-1": [Key(OTHER), Key(KEY)]})
    assert core.take(*recorded) == []
    assert len(core.take(datagram(module))) == 1


def test_a_module_that_changes_its_key_without_a_restart_goes_on_counting() -> None:
    core, module = Core({"mod-1": [KEY, OTHER]}), sender(repeat=3)
    core.take(*(datagram(module, (at, 0)) for at in range(5)))
    module._signer = sender(key=OTHER)._signer
    assert first_values(core.take(datagram(module, (5, 0)))) == [5]
