"""The whole of it: a ThingsBoard uplink that delivers and talks on one connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest

from agent.dispatch import Dispatch
from agent.hub import Hub
from agent.model import Device, Group, Point, Reading, Writable
from agent.store import Store
from agent.uplink import SETTINGS, Settings, ThingsBoard, let_talk
from tests.conftest import until
from tests.thingsboard import FakeThingsBoard, Limits
from tests.uplink.test_thingsboard import delivering, options

AC = Group(
    Device("ac", "intesis-ac", "Sala 1"), "all", (Point("setpoint", "°C", writable=Writable(16, 30)),), 1000
)
AGENT = Group(Device("agent", "uicps-agent"), "health", (Point("memory", "MB"),), 1000)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "readings.db") as store:
        yield store


async def talker(folder: Path, board: FakeThingsBoard, store: Store, written: list[float]) -> ThingsBoard:
    uplink = ThingsBoard(options(folder, board.port), store)

    async def write(device: str, point: str, value: float) -> None:
        written.append(value)

    hub = Hub([AC, AGENT])
    dispatch = Dispatch([AC], write)
    uplink.beside.append(lambda session: dispatch.run())
    status = {
        "healthy": True,
        "reasons": [],
        "clock_trusted": True,
        "lines": [{"name": "l", "failing": False}],
    }
    await let_talk(
        uplink,
        folder,
        hub=hub,
        dispatch=dispatch,
        settings=Settings(folder / "settings.json", SETTINGS),
        status=lambda: status,
        version="9.9",
        rescan=_no_search,
    )
    return uplink


async def _no_search(params: Any) -> dict[str, Any]:
    raise ValueError("no search here")


async def test_readings_go_out_while_the_centre_talks(tmp_path: Path, store: Store) -> None:
    written: list[float] = []
    async with FakeThingsBoard() as board:
        board.behaviour.limits = Limits(gateway_data_points="100000:1")
        uplink = await talker(tmp_path, board, store, written)
        async with delivering(uplink):
            for at in range(50):
                store.append([Reading(AC, 1000 + at, (20.5,)), Reading(AGENT, 1000 + at, (7.0,))])
                await asyncio.sleep(0.005)
            outcome = await board.centre.rpc("ac", "write", {"point": "setpoint", "value": 23.5})
            assert outcome["state"] == "written"
            await until(lambda: len(board.centre.stored) == 100)
        client = board.centre.devices["gateway"].client
        assert (client["agent_version"], client["lines"], client["protocol"]) == ("9.9", {"l": "well"}, "5")
        ac = board.centre.devices["ac"]
        assert ac.type == "intesis-ac"
        assert ac.client["label"] == "Sala 1"
        assert ac.client["points"] == {"setpoint": {"unit": "°C", "writable": True, "low": 16, "high": 30}}
        assert "agent" not in board.centre.devices
        assert board.centre.differing == []
        assert uplink.limits.values[0].amount == 100000
    assert written == [23.5]


async def test_a_lost_connection_ends_both_and_both_come_back(tmp_path: Path, store: Store) -> None:
    async with FakeThingsBoard() as board:
        uplink = await talker(tmp_path, board, store, [])
        async with delivering(uplink):
            for round_ in range(3):
                store.append([Reading(AC, 1000 + round_, (20.5,))])
                await until(lambda: ("ac", "setpoint", 1000 + round_) in board.centre.stored)  # noqa: B023
                assert (await board.centre.rpc("ac", "read", "setpoint"))["value"] is None
                board.drop()
                await until(lambda: not uplink.state.connected)
            assert "connection lost" in uplink.state.last_error
            await until(lambda: uplink.state.connected)


@pytest.mark.parametrize("release", ["4.3", "4.1"])
async def test_a_device_the_centre_cannot_make_does_not_stop_the_talk(
    tmp_path: Path, store: Store, release: Literal["4.3", "4.1"]
) -> None:
    """4.1 says nothing at all of such a device: no PUBACK."""
    async with FakeThingsBoard() as board:
        board.behaviour.release = release
        board.behaviour.answers_session_limits = False
        board.behaviour.refused_devices = {"ac": 0x80}
        uplink = await talker(tmp_path, board, store, [])
        async with delivering(uplink):
            store.append([Reading(AC, 1000, (20.5,)), Reading(AGENT, 1000, (7.0,))])
            await until(lambda: ("gateway", "memory", 1000) in board.centre.stored)
            assert await board.centre.rpc("gateway", "status", {})
            await until(lambda: uplink.state.held_devices == 1)
            await until(lambda: "agent_version" in board.centre.devices["gateway"].client)


async def test_a_centre_that_refuses_subscriptions_still_gets_the_readings(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeThingsBoard() as board:
        board.behaviour.refused_filters = {"v1/gateway/rpc"}
        uplink = await talker(tmp_path, board, store, [])
        async with delivering(uplink):
            store.append([Reading(AC, 1000, (20.5,))])
            await until(lambda: board.centre.stored)
            assert uplink.state.connections == 1
    assert "refuses the subscription to v1/gateway/rpc" in caplog.text
