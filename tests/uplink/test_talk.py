"""The centre talks back, by real MQTT against the fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.dispatch import Dispatch
from agent.drivers.command import WriteFailed
from agent.hub import Hub
from agent.model import Device, Group, Point, Reading, Writable
from agent.uplink.methods import methods, through
from agent.uplink.pace import Limits as Granted
from agent.uplink.pace import Rate
from agent.uplink.rpc import Calls, Memory
from agent.uplink.settings import Settings
from agent.uplink.talk import TalkBack
from agent.uplink.wishes import SETTINGS
from tests.conftest import until
from tests.thingsboard import FakeThingsBoard, Limits
from tests.uplink.test_mqtt import session

POINTS = (Point("setpoint", "°C", writable=Writable(16, 30)), Point("power", "W"))
ROOM = Group(Device("room", "ac"), "all", POINTS, 1000)


class Box:
    """An agent with an air conditioner in a room."""

    def __init__(self, folder: Path) -> None:
        self.written: list[float] = []
        self.broken = False
        self.hub = Hub([ROOM])
        self.hub.publish([Reading(ROOM, 5, (22.0, float("nan")))])
        self.facts: dict[str, Any] = {"agent_version": "1", "backlog": 0}
        self.settings = Settings(folder / "settings.json", SETTINGS)
        self.memory = Memory(folder / "calls.json")
        self.dispatch = Dispatch([ROOM], self._write)
        self.forgotten: list[str] = []
        self.limits: list[Granted] = []
        self.scans = 0

    async def _write(self, device: str, point: str, value: float) -> None:
        if self.broken:
            raise WriteFailed("the line is down")
        self.written.append(value)

    async def _rescan(self, params: Any) -> dict[str, Any]:
        if params:
            raise ValueError("search 1 is running")
        self.scans += 1
        return {"found": 3}

    def talk(self, **more: float) -> TalkBack:
        known = methods(self.hub, through(self.dispatch), lambda: {"healthy": True}, self._rescan)
        return TalkBack(
            Calls(known, self.memory),
            self.settings,
            devices=lambda: {"room": "ac"},
            facts=lambda: self.facts,
            device_facts=lambda: {"room": {"label": "Room"}},
            forgotten=self.forgotten.append,
            learn=self.limits.append,
            **{"tell_interval_s": 0.05} | more,
        )


@pytest.fixture
async def board() -> AsyncIterator[FakeThingsBoard]:
    async with FakeThingsBoard() as board:
        yield board


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    box = Box(tmp_path)
    dispatching = asyncio.create_task(box.dispatch.run())
    yield box
    dispatching.cancel()
    await asyncio.wait([dispatching])


@asynccontextmanager
async def talking(board: FakeThingsBoard, talk: TalkBack, version: str = "5") -> AsyncIterator[None]:
    async with session(board, version) as link:
        task = asyncio.create_task(talk.run(link))
        try:
            await until(lambda: "room" in board.centre.devices and board.centre.devices["room"].client)
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
    if not task.cancelled():
        task.result()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_points_are_read_and_written_by_gateway_and_sub_device(
    board: FakeThingsBoard, box: Box, version: str
) -> None:
    rpc = board.centre.rpc
    async with talking(board, box.talk(), version):
        assert board.centre.devices["room"].type == "ac"
        own = await rpc("gateway", "read", {"point": "room.setpoint"})
        assert own == {"point": "room.setpoint", "unit": "°C", "value": 22.0, "ts": 5, "quality": "good"}
        assert await rpc("room", "read", "setpoint") == own
        assert (await rpc("room", "read", "power"))["value"] is None
        wrote = await rpc("room", "write", {"point": "setpoint", "value": 24, "lease_s": 60})
        assert (wrote["point"], wrote["state"], wrote["value"]) == ("room.setpoint", "written", 24.0)
        assert await rpc("gateway", "status", {}) == {"healthy": True}
        assert await rpc("gateway", "rescan", None) == {"found": 3}
        assert await rpc("gateway", "rescan", {"network": "10.0.0.0/24"}) == {"error": "search 1 is running"}
    assert box.written == [24.0]


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("fly", {}, "unknown method 'fly'; known: read, rescan, status, write"),
        ("read", {"point": "nothing"}, "room.nothing: no such point"),
        ("read", "setpiont", "room.setpiont: no such point, did you mean 'room.setpoint'?"),
        ("read", None, "params"), ("read", {"p": 1}, "point: Field required"),
        ("write", {"point": "setpoint"}, "value"), ("write", {"point": "setpoint", "value": "24"}, "value"),
        ("write", {"point": "setpoint", "value": 99}, "room.setpoint: "),
        ("write", {"point": "power", "value": 1}, "not a point that can be written"),
        ("write", {"point": "setpoint", "value": 20, "lease_s": 1e9}, "lease: expected"),
    ],
)  # fmt: skip
async def test_what_cannot_be_done_is_answered_with_the_reason(
    board: FakeThingsBoard, box: Box, method: str, params: Any, words: str
) -> None:
    async with talking(board, box.talk()):
        assert words in (await board.centre.rpc("room", method, params))["error"]
    assert box.written == []


async def test_a_write_that_fails_says_so(board: FakeThingsBoard, box: Box) -> None:
    box.broken = True
    async with talking(board, box.talk()):
        outcome = await board.centre.rpc("room", "write", {"point": "setpoint", "value": 20})
        assert (outcome["state"], outcome["reason"]) == ("failed", "the line is down")


@pytest.mark.parametrize("payload", [b"{", b"[]", b"\xff\xfe", b'{"method": 5}', b'{"device": "room"}', b""])
async def test_no_malformed_push_ends_the_talk(board: FakeThingsBoard, box: Box, payload: bytes) -> None:
    async with talking(board, box.talk()):
        (door,) = board.connections
        for topic in (
            "v1/gateway/rpc", "v1/devices/me/rpc/request/9", "v1/devices/me/rpc/request/x",
            "v1/gateway/attributes",
            "v1/devices/me/attributes", "v1/devices/me/attributes/response/1", "v1/devices/me/rpc/response/1",
        ):  # fmt: skip
            door.push_raw(topic, payload)
        assert await board.centre.rpc("gateway", "status", {}) == {"healthy": True}
    ((_, number, reply),) = board.centre.late_replies
    assert number == 9
    assert "expected" in reply["error"]


async def test_a_call_sent_again_after_a_lost_reply_is_not_done_again(
    board: FakeThingsBoard, box: Box
) -> None:
    """The reply is swallowed by a link that dies; the platform pushes the call at the next connect."""
    board.behaviour.withhold_puback = lambda topic, payload: topic == "v1/gateway/rpc"
    swallow = board.centre.replied
    board.centre.replied = lambda *_: None  # type: ignore[method-assign]
    async with talking(board, box.talk()):
        call = asyncio.create_task(
            board.centre.rpc("room", "write", {"point": "setpoint", "value": 25}, timeout_s=20)
        )
        await until(lambda: box.written)
        await until(lambda: board.centre.messages["v1/gateway/rpc"])
        board.drop()
    board.centre.replied = swallow  # type: ignore[method-assign]
    board.behaviour.withhold_puback = lambda topic, payload: False
    await box.memory.load()
    async with talking(board, box.talk()):  # new `Calls`, as after a restart
        assert (await call)["state"] == "written"
    assert box.written == [25.0]


async def test_settings_are_asked_for_obeyed_and_told(board: FakeThingsBoard, box: Box) -> None:
    board.centre.devices["gateway"].shared = {"tariff": "verde-a4", "other": 1}
    client = board.centre.devices["gateway"].client
    async with talking(board, box.talk()):
        await until(lambda: client.get("tariff_version") == 1)
        assert box.settings.value("tariff") == "verde-a4"
        board.centre.set_shared("gateway", comfort={"room": {"low_c": 21, "high_c": 20}})
        await until(lambda: client.get("comfort_error"))
        assert client["comfort_version"] == 0
        board.centre.set_shared("gateway", comfort={"room": {"low_c": 21, "high_c": 25}})
        await until(lambda: client["comfort_applied"])
        assert client["comfort_error"] == ""
        board.centre.delete_shared("gateway", "tariff")
        await until(lambda: client["tariff_version"] == 2)
    assert box.settings.value("tariff") is None


async def test_a_setting_at_a_sub_device_is_not_obeyed_and_that_is_said(
    board: FakeThingsBoard, box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    client = board.centre.devices["gateway"].client
    async with talking(board, box.talk()):
        await until(lambda: "tariff_version" in client)
        await until(lambda: board.centre.set_shared("room", tariff="verde-a4", other=1))
        await until(lambda: "tariff was set at room: not obeyed" in caplog.text)
    assert box.settings.value("tariff") is None


async def test_a_change_that_is_never_pushed_is_asked_for(board: FakeThingsBoard, box: Box) -> None:
    """The platform dropped the subscription at its rate limit, after it had granted it."""
    client = board.centre.devices["gateway"].client
    async with talking(board, box.talk(ask_again_s=0.2)):
        await until(lambda: "tariff_version" in client)
        board.centre.devices["gateway"].shared = {"tariff": "verde-a4"}
        await until(lambda: client["tariff_applied"] == "verde-a4")


async def test_a_change_made_while_we_were_away_is_met_at_the_next_connect(
    board: FakeThingsBoard, box: Box
) -> None:
    board.centre.devices["gateway"].shared = {"tariff": "a", "limits": {"demand_w": 5.0}}
    async with talking(board, box.talk()):
        await until(lambda: box.settings.value("tariff") == "a")
    board.centre.devices["gateway"].shared = {"tariff": "b"}
    async with talking(board, box.talk()):
        await until(lambda: box.settings.value("tariff") == "b")
        assert box.settings.value("limits") is None


async def test_what_we_tell_goes_out_when_it_changes(board: FakeThingsBoard, box: Box) -> None:
    client = board.centre.devices["gateway"].client
    async with talking(board, box.talk()):
        await until(lambda: client.get("agent_version") == "1")
        assert board.centre.devices["room"].client == {"label": "Room"}
        count = board.centre.messages["v1/devices/me/attributes"]
        await asyncio.sleep(0.2)
        assert board.centre.messages["v1/devices/me/attributes"] == count
        box.facts["backlog"] = 7
        await until(lambda: client["backlog"] == 7)
        assert board.centre.messages["v1/devices/me/attributes"] == count + 1
        assert board.centre.messages["v1/gateway/attributes"] == 1


async def test_a_quiet_sub_device_stays_within_reach(board: FakeThingsBoard, box: Box) -> None:
    board.behaviour.subdevice_session_s = 0.4
    async with talking(board, box.talk(quiet_s=0.15)):
        for _ in range(4):
            await asyncio.sleep(0.25)
            assert (await board.centre.rpc("room", "read", "setpoint"))["value"] == 22.0
    assert board.centre.connects["room"] == 1


async def test_a_deleted_or_renamed_sub_device_comes_back_with_its_type(
    board: FakeThingsBoard, box: Box
) -> None:
    async with talking(board, box.talk()):
        board.centre.rename("room", "hall")
        await until(lambda: "room" in board.centre.devices)
        assert board.centre.devices["room"].type == "ac"
        board.centre.delete("room")
        await until(lambda: "room" in board.centre.devices)
        assert board.centre.devices["room"].type == "ac"
    assert box.forgotten == ["room", "room"]


async def test_what_the_centre_grants_is_learned(board: FakeThingsBoard, box: Box) -> None:
    board.behaviour.limits = Limits(gateway_messages="500:1", gateway_data_points="9000:1,20000:60")
    async with talking(board, box.talk()):
        await until(lambda: box.limits)
    assert box.limits == [Granted((Rate(500, 1),), (Rate(9000, 1), Rate(20000, 60)))]


async def test_an_old_centre_that_tells_no_limits_is_served_all_the_same(
    board: FakeThingsBoard, box: Box
) -> None:
    board.behaviour.answers_session_limits = False
    board.behaviour.release = "4.1"
    async with talking(board, box.talk()):
        assert await board.centre.rpc("gateway", "status", {}) == {"healthy": True}
    assert box.limits == []
