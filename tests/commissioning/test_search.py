"""Searching real sockets and pseudo-terminals: who is found, who is asked, and what is not asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from agent.commissioning.found import as_data, as_toml, row
from agent.commissioning.identify import Match, Presence
from agent.commissioning.probing import Exchange
from agent.commissioning.scan_plan import Settings, settings_of
from agent.commissioning.search import Found, NetworkSearch, SerialSearch
from agent.demo.modbus_bus import SimulatedBus
from agent.demo.modbus_device import SimulatedDevice, profile_named
from agent.demo.modbus_line import SimulatedLine

EIGHT_N_ONE = settings_of("9600 8N1")


def xy_md02(unit_id: int) -> SimulatedDevice:
    device = SimulatedDevice("xy-md02", unit_id)
    device.update({"temperature": 21.5, "humidity": 50.0})
    device.set_registers("holding", 0x0101, (unit_id, 9600))
    return device


async def on_bus(
    port: str, settings: Sequence[Settings], units: Sequence[int]
) -> tuple[list[Found], SerialSearch]:
    found: list[Found] = []
    search = SerialSearch({"xy-md02": profile_named("xy-md02")}, found.append, lambda left_s, text: None)
    await search.run(port, settings, units, wait_s=0.05)
    return found, search


async def test_a_device_is_asked_at_other_stop_bits_no_more() -> None:
    async with SimulatedBus(xy_md02(1)) as bus:
        found, _ = await on_bus(bus.port, (EIGHT_N_ONE, settings_of("9600 8N2")), (1,))
    assert [(each.settings, each.unit_id, each.presence) for each in found] == [
        (EIGHT_N_ONE, 1, Presence.DEVICE)
    ]
    assert found[0].matches[0].profile == "xy-md02"


async def test_a_garbled_answer_is_counted() -> None:
    async with SimulatedBus(xy_md02(1)) as bus:
        bus.spoil_every = 1
        found, search = await on_bus(bus.port, (EIGHT_N_ONE,), (1,))
    assert found == []
    assert search.unread["something garbled came at 9600 8N1"] >= 1


async def test_what_answers_once_and_never_again_is_listed_with_a_hint() -> None:
    async with SimulatedBus(xy_md02(1)) as bus:
        bus.ignores = lambda unit_id, pdu: bus.requests > 1
        found, search = await on_bus(bus.port, (EIGHT_N_ONE,), (1,))
    (once,) = found
    assert once.presence is Presence.ONCE
    assert "--wait-ms" in row(once)[2]
    assert search.unread == {}


async def test_time_left_is_told_and_falls() -> None:
    told: list[float] = []
    async with SimulatedBus() as bus:
        search = SerialSearch({}, print, lambda left_s, text: told.append(left_s))
        await search.run(bus.port, (EIGHT_N_ONE,), (1, 2, 3), wait_s=0.02)
    assert len(told) == 3 + 3 + 2  # both tables, and the two addresses that are anybody's
    assert told == sorted(told, reverse=True)


async def in_network(
    port: int, units: Sequence[int], hosts: Sequence[str] = ("127.0.0.1",)
) -> tuple[list[Found], NetworkSearch]:
    found: list[Found] = []
    search = NetworkSearch({}, found.append, lambda left_s, text: None, port=port, units=units, wait_s=0.1)
    await search.run(hosts)
    return found, search


async def test_a_gateway_s_word_that_nobody_is_there_is_silence() -> None:
    async with SimulatedLine(xy_md02(5)) as line:
        found, _ = await in_network(line.port, (1, 2, 5, 9))
    assert [each.unit_id for each in found] == [5]


@asynccontextmanager
async def tcp_server(answer: bytes | None) -> AsyncIterator[int]:
    """Answers every request as the unit that was asked, or (None) hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.read(260):
                if answer is None:
                    break
                writer.write(request[:4] + (len(answer) + 1).to_bytes(2, "big") + request[6:7] + answer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_who_answers_for_every_unit_is_one_device() -> None:
    async with tcp_server(bytes((3, 4, 0, 1, 0, 2))) as port:
        found, _ = await in_network(port, (1, 255, 2, 3))
    assert [(each.unit_id, each.presence) for each in found] == [(1, Presence.EVERY_ADDRESS)]


async def test_who_hangs_up_is_not_asked_for_ever() -> None:
    async with tcp_server(None) as port:
        found, search = await in_network(port, range(1, 100))
    assert found == []
    assert search.unread == {"connected, but did not speak Modbus": 1}


async def test_many_hosts_share_few_connections() -> None:
    async with SimulatedLine(xy_md02(1)) as line:
        hosts = [f"127.0.0.{at}" for at in range(1, 30)]
        found, search = await in_network(line.port, (1,), hosts)
    assert [each.host for each in found] == ["127.0.0.1"]
    assert search.unread == {"nothing listens at the port": 28}


def found_at(unit_id: int, settings: str, **more: object) -> Found:
    match = Match("xy-md02", "XY-MD02", 8.0, ("seen",))
    exchange = Exchange(b"\x01\x03", b"\x01\x83\x02")
    known = Found(
        "/dev/x", 0, settings_of(settings), unit_id, "holding", Presence.DEVICE, exchange, {}, (match,)
    )
    return known._replace(**more)  # type: ignore[arg-type]


def test_other_settings_on_the_same_wire_are_a_comment() -> None:
    text = as_toml([found_at(3, "9600 8N1"), found_at(4, "2400 8N1"), found_at(1, "9600 8N1")])
    live = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert live.count("[[line]]") == 1
    assert live.count("[[line.device]]") == 2
    assert "baudrate = 9600" in live
    assert live.index("unit_id = 1") < live.index("unit_id = 3")
    assert "# Other settings on the same wire: set these devices to those of the line above." in text


def test_what_was_found_as_data_and_as_a_row() -> None:
    found = found_at(248, "9600 8N1", any_unit=True, matches=(), identity={0: "ACME", 1: "M-1"})
    assert row(found) == (
        "/dev/x 9600 8N1",
        "248?",
        'says "ACME M-1"; its own address is another one',
        "-",
        "01 83 02",
    )
    data = as_data(found)
    assert (data["settings"], data["answer"], data["identity"]) == (
        "9600 8N1",
        "018302",
        {"maker": "ACME", "product": "M-1"},
    )


def test_an_address_that_is_anybodys_is_offered_only_alone() -> None:
    anybody = found_at(248, "9600 8N1", any_unit=True)
    assert "unit_id = 248   # anybody's address: right only while it is alone" in as_toml([anybody])
    assert "248" not in as_toml([anybody, found_at(3, "9600 8N1")])


def test_what_answered_once_is_not_offered() -> None:
    assert as_toml([found_at(3, "9600 8N1", presence=Presence.ONCE)]) == ""
