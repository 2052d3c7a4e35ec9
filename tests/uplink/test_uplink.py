"""Uplinks against a ThingsBoard with its surprises, and beside each other."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiomqtt
import pytest

from agent.model import NAN, Group, Quality, Reading
from agent.store import Store
from agent.uplink import PlainMqtt, PlainMqttOptions, ThingsBoard, ThingsBoardOptions, Uplink
from agent.uplink.patience import Patience
from tests.conftest import Mosquitto, group_of, until
from tests.thingsboard.behaviour import Behaviour
from tests.thingsboard.server import FakeThingsBoard
from tests.uplink.test_thingsboard import delivering

A, B = group_of("a"), group_of("b")
HASTY = Patience(
    held_first_s=0.2, after_loss_s=0.05, rest_s=0.2, rival_wait_s=(0.1, 0.1), rival_lives_max=3, hiccup_s=0.3
)
VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "readings.db") as store:
        yield store


@pytest.fixture
async def board() -> AsyncIterator[FakeThingsBoard]:
    async with FakeThingsBoard() as board:
        yield board


def thingsboard(
    tmp_path: Path,
    store: Store,
    port: int,
    primary: Uplink | None = None,
    *,
    takeover_s: float = 5.0,
    **more: object,
) -> ThingsBoard:
    token = tmp_path / "token"
    token.write_text("T0KEN\n")
    token.chmod(0o600)
    base: dict[str, object] = {"kind": "thingsboard", "name": "center", "host": "127.0.0.1", "port": port}
    quick: dict[str, object] = {"token_file": token, "puback_timeout_s": 1.0, "backlog_delay_s_max": 0.0}
    options = ThingsBoardOptions.model_validate(base | quick | more)
    options = options.model_copy(update={"takeover_s": takeover_s})  # a test has no time for a real one
    return ThingsBoard(options, store, tmp_path, primary, HASTY)


def fill(store: Store, count: int, start: int = 0, groups: tuple[Group, ...] = (A, B)) -> None:
    store.append(
        [Reading(g, 1000 + at, (float(at), at / 10)) for at in range(start, start + count) for g in groups]
    )


def wanted(count: int, devices: str = "ab") -> dict[tuple[str, str, int], float]:
    return {
        (device, name, 1000 + at): value
        for device in devices
        for at in range(count)
        for name, value in (("p0", float(at)), ("p1", at / 10))
    }


@VERSIONS
async def test_a_rate_limit_costs_time_and_nothing_else(
    tmp_path: Path, store: Store, board: FakeThingsBoard, version: str
) -> None:
    board.behaviour.limits.gateway_telemetry_messages = "12:1"
    uplink = thingsboard(tmp_path, store, board.port, protocol=version, batch_readings_max=20)
    async with delivering(uplink):
        fill(store, 250)
        await until(lambda: len(board.centre.stored) == 1000 and uplink.state.backlog == 0, 40)
    assert board.centre.stored == wanted(250)
    assert board.meter.rejections
    assert uplink.state.held_devices == 0
    assert uplink.state.rejected == 0


@VERSIONS
async def test_poison_at_a_real_centre(
    tmp_path: Path, store: Store, board: FakeThingsBoard, version: str
) -> None:
    board.behaviour.poison = lambda device, ts, values: (device, ts) == ("b", 1033)
    uplink = thingsboard(tmp_path, store, board.port, protocol=version)
    async with delivering(uplink):
        fill(store, 60)
        await until(lambda: uplink.state.held_devices == 1, 15)
        fill(store, 10, 60)
        await until(lambda: uplink.state.held_devices == 0, 25)
        await until(lambda: len(board.centre.stored) == 4 * 70 - 2)
        await until(lambda: uplink.state.delivered_readings == 2 * 70 - 1)  # 3.1.1 is believed after a second
    assert board.centre.stored.keys() == wanted(70).keys() - {("b", "p0", 1033), ("b", "p1", 1033)}
    assert uplink.state.rejected == 1
    rows = await store.ledger.rows(0, 3_600_000)
    assert {row.device: (row.rejected.get("center", 0), row.waiting("center")) for row in rows} == {
        "a": (0, 0),
        "b": (1, 0),
    }


@VERSIONS
async def test_two_boxes_with_one_token_are_told(
    tmp_path: Path,
    store: Store,
    board: FakeThingsBoard,
    version: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with Store(tmp_path / "other.db") as other_store:
        one = thingsboard(tmp_path, store, board.port, protocol=version)
        other = thingsboard(tmp_path, other_store, board.port, protocol=version, name="other")
        async with delivering(one), delivering(other):
            await until(lambda: one.state.advice and other.state.advice, 20)
            await asyncio.sleep(0.5)
    said = [record.message for record in caplog.records if "the same credentials" in record.message]
    assert len([text for text in said if "uplink center: " in text]) == 1
    assert "token" in one.state.advice


async def test_a_standby_takes_over_and_gives_back_without_a_gap(
    tmp_path: Path, store: Store, board: FakeThingsBoard
) -> None:
    async with FakeThingsBoard() as second:
        primary = thingsboard(tmp_path, store, board.port)
        standby = thingsboard(
            tmp_path, store, second.port, primary, takeover_s=1.0, name="spare", standby_for="center"
        )
        async with delivering(primary), delivering(standby):
            fill(store, 50)
            await until(lambda: len(board.centre.stored) == 200)
            await board.kill()
            fill(store, 50, 50)
            await until(lambda: len(second.centre.stored) == 200)
            assert second.centre.stored == {
                key: value for key, value in wanted(100).items() if key[2] >= 1050
            }
            fill(store, 50, 100)
            await until(lambda: len(second.centre.stored) == 400)
            await board.start()
            await until(lambda: not standby.state.connected, 20)
            fill(store, 50, 150)
            await until(lambda: len(board.centre.stored) == 800)  # one whole copy at the primary
        assert board.centre.stored == wanted(200)
        assert standby.state.backlog == 0


async def test_a_primary_that_comes_and_goes_does_not_take_its_standby_along(
    tmp_path: Path, store: Store, board: FakeThingsBoard
) -> None:
    async with FakeThingsBoard() as second:
        primary = thingsboard(tmp_path, store, board.port, retry_s_max=1.0)
        names = {"name": "spare", "standby_for": "center"}
        standby = thingsboard(tmp_path, store, second.port, primary, takeover_s=1.5, **names)
        async with delivering(primary), delivering(standby):
            await board.kill()
            fill(store, 10)
            await until(lambda: standby.state.connected)
            for at in range(1, 6):
                fill(store, 10, 10 * at)
                await board.start()
                await until(lambda: primary.state.connected)
                await asyncio.sleep(0.3)
                await board.kill()
                fill(store, 10, 60 + 10 * at)
                await until(lambda: standby.state.backlog == 0)  # new ones do not wait for a silence
            assert standby.state.connections == 1
            await board.start()
            await until(lambda: not standby.state.connected and primary.state.backlog == 0, 20)
        assert board.centre.stored.keys() == {key for key in wanted(120) if not 1060 <= key[2] < 1070}


async def test_what_the_standby_delivered_may_be_spared(
    tmp_path: Path, store: Store, board: FakeThingsBoard
) -> None:
    async with FakeThingsBoard() as second:
        primary = thingsboard(tmp_path, store, board.port)
        names = {"name": "spare", "standby_for": "center", "on_return": "skip"}
        standby = thingsboard(tmp_path, store, second.port, primary, takeover_s=0.5, **names)
        await board.kill()
        async with delivering(primary), delivering(standby):
            fill(store, 50)
            await until(lambda: len(second.centre.stored) == 200)
            await board.start()
            fill(store, 50, 50)
            await until(lambda: len(second.centre.stored) + len(board.centre.stored) == 400)
        assert board.centre.stored | second.centre.stored == wanted(100)


def plain(store: Store, port: int, **more: object) -> PlainMqtt:
    base = {"kind": "mqtt", "name": "plain", "host": "127.0.0.1", "port": port, "puback_timeout_s": 1.0}
    return PlainMqtt(PlainMqttOptions.model_validate(base | more), store, "lab")


async def test_any_broker_gets_one_json_object_per_reading(store: Store, mosquitto: Mosquitto) -> None:
    store.append([Reading(A, 1, (230.0, NAN)), Reading(A, 2, (1e-7, 1.0), Quality.UNCERTAIN)])
    found: list[tuple[str, bool, dict]] = []
    uplink = plain(store, mosquitto.port)
    async with delivering(uplink):
        await until(lambda: uplink.state.backlog == 0)
        async with aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
            await client.subscribe("uicps/#", qos=1)
            store.append([Reading(A, 1, (230.0, NAN)), Reading(A, 2, (1e-7, 1.0), Quality.UNCERTAIN)])
            async for message in client.messages:
                found.append((str(message.topic), message.retain, json.loads(bytes(message.payload))))
                if len(found) == 3:
                    break
    volts = {"unit": "V", "kind": "gauge", "states": {}}
    assert found[0] == (
        "uicps/lab/a/all/meta",
        True,
        {"device": "a", "type": "test", "label": "", "group": "all", "interval_ms": 1000,
         "points": {"p0": volts, "p1": volts}},
    )  # fmt: skip
    assert found[1:] == [
        ("uicps/lab/a/all", False, {"time_ms": 1, "quality": "good", "values": {"p0": 230.0, "p1": None}}),
        ("uicps/lab/a/all", False, {"time_ms": 2, "quality": "uncertain", "values": {"p0": 1e-7, "p1": 1.0}}),
    ]


async def test_two_uplinks_do_not_wait_for_each_other(
    tmp_path: Path, store: Store, board: FakeThingsBoard, mosquitto: Mosquitto
) -> None:
    one, other = thingsboard(tmp_path, store, board.port), plain(store, mosquitto.port)
    mosquitto.signal(signal.SIGSTOP)
    async with delivering(one), delivering(other):
        fill(store, 100)
        await until(lambda: len(board.centre.stored) == 400)
        assert other.state.backlog == 200
        mosquitto.signal(signal.SIGCONT)
        await until(lambda: other.state.backlog == 0)
    assert other.state.delivered_readings == 200


async def test_disorder_of_pubacks_costs_nothing(
    tmp_path: Path, store: Store, board: FakeThingsBoard, free_port: Callable[[], int]
) -> None:
    board.behaviour = Behaviour(shuffle_pubacks=5, duplicate_pubacks=2)
    uplink = thingsboard(tmp_path, store, board.port, message_bytes_max=1024)
    async with delivering(uplink):
        fill(store, 500)
        await until(lambda: len(board.centre.stored) == 2000)
    assert board.centre.stored == wanted(500)
