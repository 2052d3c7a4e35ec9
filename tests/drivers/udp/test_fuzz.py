"""Whatever comes is taken or counted; nothing is raised, nothing grows."""

from __future__ import annotations

import os
import tracemalloc
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.udp import text
from agent.drivers.udp.keys import Key
from agent.drivers.udp.refusal import EPISODES_MAX

from .lab import KEY, NOW_MS, Core, datagram, sender

DATAGRAMS = int(os.environ.get("UICPS_FUZZ", "20000"))  # a million takes two minutes


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda data: b"UT\x01\x01" + data),
        st.binary(max_size=300).map(lambda data: b"UT\x01\x04" + data),
        st.binary(max_size=100).map(lambda data: b"{" + data + b"}"),
    )
)
def test_no_bytes_raise(data: bytes) -> None:
    core = Core(unsigned=True)
    core.take(data)
    assert sum(core.counters.values()) >= 1


KEYS = st.sampled_from(
    ["id", "seq", "ts", "values", "samples", "boot", "n", "age_ms", "temperature", "result", "ack"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(-1, 2**64 - 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
)


@given(st.dictionaries(KEYS, JSON, max_size=8))
def test_no_signed_json_raises(body: dict[str, Any]) -> None:
    core = Core()
    core.take(text.sign(body, Key(KEY)), text.sign({"id": "mod-1", "boot": 1, "seq": 1} | body, Key(KEY)))


@given(st.binary(max_size=200), st.sampled_from([1, 4]))
def test_no_signed_packed_bytes_raise(rest: bytes, kind: int) -> None:
    key = Key(KEY)
    body = b"UT\x01" + bytes((kind,)) + key.id.to_bytes(4, "little") + rest
    core = Core()
    core.take(body + key.tag(body))
    good = datagram(sender(2**32 - 1))
    whole = good[:16] + rest[: len(good) - 32].ljust(len(good) - 32, b"\xff")
    core.take(whole + key.tag(whole))


def test_a_flood_of_mutated_datagrams_raises_nothing_and_grows_nothing() -> None:
    chance, core, key = Random(1), Core(), Key(KEY)
    module = sender()
    good = [datagram(module, (at, 0), unix_ms=NOW_MS) for at in range(20)]
    good += [
        text.sign({"id": "mod-1", "boot": 1, "seq": at, "values": {"setpoint": at}}, key) for at in range(20)
    ]

    def flood(count: int) -> None:
        for at in range(count):
            data = bytearray(chance.choice(good))
            for _ in range(chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            del data[chance.choice((len(data), chance.randrange(len(data)))) :]
            if chance.random() < 0.3:  # rightly signed nonsense gets further in
                data = bytearray(data[:-16] + key.tag(bytes(data[:-16])))
            core.intake.take([(bytes(data), (f"10.0.{at >> 8 & 255}.{at & 255}", 1))], core.now)
            core.keep()
            core.intake.readings()
            core.intake.replies()

    flood(5000)
    tracemalloc.start()
    flood(DATAGRAMS // 2)
    before, _ = tracemalloc.get_traced_memory()
    flood(DATAGRAMS // 2)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 200_000
    assert len(core.intake.refusals._episodes) <= EPISODES_MAX + 20
