"""ThingsBoard's own tests, told by an agent: the names are those of the platform's test classes.

Each case runs against the fake at MQTT 5 and 3.1.1; the plain ones also against a real Mosquitto.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from agent.model import NAN, Device, Group, Point, Reading
from agent.store import Store
from agent.uplink import ThingsBoard
from agent.uplink.patience import Patience
from agent.uplink.rpc import Calls, Memory, Method
from agent.uplink.settings import Setting, Settings
from agent.uplink.talk import TalkBack
from tests.conftest import Mosquitto, group_of, until
from tests.thingsboard import Behaviour, Entity, FakeThingsBoard, Limits
from tests.uplink.center import Center
from tests.uplink.test_mqtt import reading, session
from tests.uplink.test_thingsboard import delivering, options

BOTH = pytest.mark.parametrize("version", ["5", "3.1.1"])
TS = 1451649600512
TELEMETRY = "v1/gateway/telemetry"


@pytest.fixture
async def board() -> AsyncIterator[FakeThingsBoard]:
    async with FakeThingsBoard() as board:
        yield board


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "readings.db") as store:
        yield store


class Agent:
    """An uplink with one meter behind it that the centre can call and set."""

    def __init__(self, folder: Path, store: Store, port: int, **more: object) -> None:
        self.store = store
        self.calls: list[tuple[str, str, Any]] = []
        self.replies: dict[str, Any] = {}
        self.set: list[Any] = []
        self.settings = Settings(folder / "settings.json", {"limit": Setting(int, self.set.append)})
        self.memory = Memory(folder / "calls.json")
        patience = Patience(held_first_s=0.1, after_loss_s=0.2)
        self.uplink = ThingsBoard(options(folder, port, **more), store, patience=patience)
        self.uplink.beside.append(self.talk().run)

    def talk(self) -> TalkBack:
        async def answer(device: str, params: Any) -> Any:
            self.calls.append((device, "getValue", params))
            return {"value1": "A", "value2": "B"}

        return TalkBack(
            Calls({"getValue": Method(answer, once=True)}, self.memory),
            self.settings,
            devices=lambda: {"meter": "test"},
            facts=dict,
            device_facts=lambda: {"meter": {"label": "Meter"}},
            forgotten=self.uplink.delivery.forget_greeting,
            tell_interval_s=0.05,
        )

    def read(self, *values: float, ts: int = TS, device: str = "meter") -> None:
        self.store.append([Reading(group_of(device, len(values)), ts, values)])


@asynccontextmanager
async def running(
    folder: Path, store: Store, port: int, version: str = "auto", **more: object
) -> AsyncIterator[Agent]:
    agent = Agent(folder, store, port, protocol=version, **more)
    async with delivering(agent.uplink):
        await until(lambda: agent.uplink.state.connected)
        yield agent


# ------------------------------------------------------- MqttGatewayClientTest, MqttClientTest


@BOTH
async def test_telemetry_upload_with_ts(
    board: FakeThingsBoard, tmp_path: Path, store: Store, version: str
) -> None:
    async with running(tmp_path, store, board.port, version) as agent:
        agent.read(42.0, 0.1 + 0.2, 1e-17, 2e7, NAN)
        await until(lambda: len(board.centre.values_of("meter")) == 4)
    stored = board.centre.values_of("meter")
    assert stored[("p0", TS)] == 42.0
    assert stored[("p1", TS)] == pytest.approx(0.3, abs=1e-15)
    assert stored[("p2", TS)] == 0.0
    assert all(isinstance(value, float) for value in stored.values())  # a float stays one, none is a text
    assert board.centre.devices["meter"].type == "test"


async def test_telemetry_upload_at_a_real_broker(mosquitto: Mosquitto, tmp_path: Path, store: Store) -> None:
    async with Center.at(mosquitto.port) as center, running(tmp_path, store, mosquitto.port) as agent:
        agent.read(42.0, 1.5)
        await until(lambda: center.values)
    assert center.values == {("meter", TS, "p0"): 42.0, ("meter", TS, "p1"): 1.5}


@BOTH
async def test_publish_attribute_update_to_server(
    board: FakeThingsBoard, tmp_path: Path, store: Store, version: str
) -> None:
    async with running(tmp_path, store, board.port, version):
        await until(lambda: "meter" in board.centre.devices and board.centre.devices["meter"].client)
        assert board.centre.devices["meter"].client == {"label": "Meter"}


@BOTH
async def test_request_attribute_values_from_server(
    board: FakeThingsBoard, tmp_path: Path, store: Store, version: str
) -> None:
    board.centre.devices["gateway"].shared = {"limit": 7}
    async with running(tmp_path, store, board.port, version) as agent:
        await until(lambda: agent.set == [7])


@BOTH
async def test_subscribe_to_attribute_updates_from_server(
    board: FakeThingsBoard, tmp_path: Path, store: Store, version: str
) -> None:
    client = board.centre.devices["gateway"].client
    async with running(tmp_path, store, board.port, version) as agent:
        await until(lambda: "limit_version" in client)
        board.centre.set_shared("gateway", limit=8)
        await until(lambda: client["limit_applied"] == 8)
        board.centre.delete_shared("gateway", "limit")
        await until(lambda: agent.set == [8, None])


@BOTH
@pytest.mark.parametrize("device", ["gateway", "meter"])
async def test_server_side_rpc(
    board: FakeThingsBoard, tmp_path: Path, store: Store, *, version: str, device: str
) -> None:
    async with running(tmp_path, store, board.port, version) as agent:
        await until(lambda: "meter" in board.centre.devices)
        assert await board.centre.rpc(device, "getValue", True) == {"value1": "A", "value2": "B"}
        await board.centre.rpc(device, "getValue", 1, two_way=False)
        await until(lambda: len(agent.calls) == 2)
    assert agent.calls[0] == ("" if device == "gateway" else device, "getValue", True)


@BOTH
async def test_server_side_persisted_rpc_is_done_once(
    board: FakeThingsBoard, tmp_path: Path, store: Store, version: str
) -> None:
    """It waits while we are away, and comes again at every reconnect until the reply has arrived."""
    board.centre.add(Entity("meter", "test"))
    call = asyncio.create_task(board.centre.rpc("meter", "getValue", True, timeout_s=20))
    await asyncio.sleep(0)
    board.centre.push_pending("meter")  # nobody is there
    deaf, board.centre.replied = board.centre.replied, lambda *_: None  # type: ignore[method-assign]
    async with running(tmp_path, store, board.port, version) as agent:
        await until(lambda: agent.calls)
        await until(lambda: board.centre.messages["v1/gateway/rpc"])
        board.centre.replied = deaf  # type: ignore[method-assign]
        board.drop()
        assert await call == {"value1": "A", "value2": "B"}
        assert len(agent.calls) == 1


@BOTH
async def test_device_creation_after_deleted(
    board: FakeThingsBoard, tmp_path: Path, store: Store, version: str
) -> None:
    async with running(tmp_path, store, board.port, version) as agent:
        agent.read(1.0, ts=1)
        await until(lambda: ("meter", "p0", 1) in board.centre.stored)
        board.centre.delete("meter")
        await until(lambda: "meter" in board.centre.devices)
        agent.read(2.0, ts=2)
        await until(lambda: ("meter", "p0", 2) in board.centre.stored)
    assert board.centre.devices["meter"].type == "test"


@BOTH
async def test_gateway_device_deleted_closes_the_session_with_words(
    board: FakeThingsBoard, tmp_path: Path, store: Store, version: str
) -> None:
    async with running(tmp_path, store, board.port, version) as agent:
        agent.read(1.0)
        await until(lambda: board.centre.stored)
        board.centre.delete("gateway")
        await until(lambda: "cannot connect" in agent.uplink.state.last_error)
        agent.read(2.0, ts=2)
        board.centre.add(Entity("gateway", gateway=True, token="T0KEN"))
        await until(lambda: ("meter", "p0", 2) in board.centre.stored)


async def test_client_session_taken_over_disconnect(
    board: FakeThingsBoard, tmp_path: Path, store: Store
) -> None:
    async with running(tmp_path, store, board.port) as agent, session(board):
        await until(lambda: "same credentials" in agent.uplink.state.advice)


@BOTH
async def test_client_connect_with_bad_credentials(
    board: FakeThingsBoard, tmp_path: Path, store: Store, version: str
) -> None:
    board.centre.devices["gateway"].token = "another"
    agent = Agent(tmp_path, store, board.port, protocol=version)
    async with delivering(agent.uplink):
        await until(lambda: "cannot connect" in agent.uplink.state.last_error)
        assert "T0KEN" not in agent.uplink.state.last_error
        board.centre.devices["gateway"].token = "T0KEN"
        await until(lambda: agent.uplink.state.connected)


# ------------------------------------------------------- AbstractMqttTimeseriesIntegrationTest


@BOTH
@pytest.mark.parametrize("release", ["4.3", "4.1", "3.6"])
async def test_push_metrics_gateway(
    board: FakeThingsBoard, tmp_path: Path, store: Store, *, version: str, release: Any
) -> None:
    board.behaviour.release = release
    board.behaviour.duplicate_pubacks, board.behaviour.shuffle_pubacks = 1, 5
    async with running(tmp_path, store, board.port, version) as agent:
        for at in range(40):
            for device in ("a", "b", "agent"):
                agent.read(float(at), at / 8, ts=TS + at, device=device)
        await until(lambda: len(board.centre.stored) == 240)
    assert board.centre.differing == []
    assert board.centre.stored[("gateway", "p0", TS + 39)] == 39.0
    assert {name: entity.type for name, entity in board.centre.devices.items() if name in "ab"} == {
        "a": "test",
        "b": "test",
    }


@BOTH
async def test_a_poisoned_reading_is_isolated(
    board: FakeThingsBoard, tmp_path: Path, store: Store, version: str
) -> None:
    """testAckIsReceivedOnFailedPublishMessage and the malformed payload cases: whoever sends it again for
    ever poisons itself. On 3.1.1 each try costs the connection."""
    board.behaviour.poison = lambda device, ts, values: device == "b" and ts == TS + 5
    async with running(tmp_path, store, board.port, version) as agent:
        for at in range(10):
            for device in ("a", "b"):
                agent.read(float(at), ts=TS + at, device=device)
        await until(lambda: len(board.centre.stored) == 19, 30)  # by itself: nothing new comes
    assert ("b", "p0", TS + 5) not in board.centre.stored


async def test_more_than_65536_bytes_are_split(board: FakeThingsBoard, tmp_path: Path, store: Store) -> None:
    async with running(tmp_path, store, board.port, message_bytes_max=65_536) as agent:
        group = group_of("wide", 500)
        store.append([Reading(group, TS + at, tuple(at + p / 7 for p in range(500))) for at in range(40)])
        await until(lambda: len(board.centre.stored) == 20_000, 30)
        assert agent.uplink.state.connections == 1


@BOTH
async def test_a_sub_device_with_a_name_in_any_script(
    board: FakeThingsBoard, tmp_path: Path, store: Store, version: str
) -> None:
    group = Group(Device('Sala "1" – ar', "tipo é"), "all", (Point("t"),), 1000)
    async with running(tmp_path, store, board.port, version):
        store.append([Reading(group, TS, (1.5,))])
        await until(lambda: board.centre.stored == {('Sala "1" – ar', "t", TS): 1.5})
    assert board.centre.devices['Sala "1" – ar'].type == "tipo é"


# ------------------------------------------------------- MqttGatewayRateLimitsTest


@BOTH
async def test_gateway_rate_limits_lose_nothing(
    board: FakeThingsBoard, tmp_path: Path, store: Store, version: str
) -> None:
    """Told by getSessionLimits."""
    board.behaviour.limits = Limits(gateway_messages="30:1", gateway_telemetry_messages="20:1")
    async with running(tmp_path, store, board.port, version) as agent:
        for at in range(60):
            agent.read(float(at), ts=TS + at, device=f"d{at % 6}")
            await asyncio.sleep(0.002)
        await until(lambda: len(board.centre.stored) == 60, 60)
    assert board.centre.differing == []


@BOTH
@pytest.mark.parametrize("bucket", ["gateway_telemetry_messages", "gateway_data_points"])
async def test_a_limit_that_is_not_told_loses_nothing(
    board: FakeThingsBoard,
    tmp_path: Path,
    store: Store,
    *,
    version: str,
    bucket: str,
) -> None:
    """Learned from rejections, which 3.1.1 sends as plain PUBACKs, and only then closes."""
    board.behaviour.answers_session_limits = False
    setattr(board.behaviour.limits, bucket, "20:1")
    async with running(tmp_path, store, board.port, version) as agent:
        for at in range(30):
            agent.read(float(at), ts=TS + at, device=f"d{at % 3}")
            await asyncio.sleep(0.01)
        await until(lambda: board.meter.rejections > 2 or len(board.centre.stored) == 30)
        setattr(board.behaviour.limits, bucket, "")
        await until(lambda: len(board.centre.stored) == 30, 40)
    assert board.centre.differing == []


@BOTH
async def test_more_values_than_the_limit_holds_are_split(
    board: FakeThingsBoard, tmp_path: Path, store: Store, version: str
) -> None:
    """The limit stays, and is not told: one reading alone is more than it ever lets pass."""
    board.behaviour.answers_session_limits = False
    board.behaviour.limits.gateway_data_points = "60:1"
    async with running(tmp_path, store, board.port, version, retry_s_max=1.0) as agent:
        agent.read(*(float(at) for at in range(100)))
        await until(lambda: len(board.centre.stored) == 100, 50)
    assert board.centre.differing == []


# ------------------------------------------------------- MqttV5ClientConnectionTest, MqttV5ClientPublishTest


@pytest.mark.parametrize("mqtt5", ["refused", "hang up", "silent"])
async def test_without_mqtt_5_it_goes_on_with_3_1_1(
    board: FakeThingsBoard, tmp_path: Path, store: Store, mqtt5: Any
) -> None:
    board.behaviour.mqtt5 = mqtt5
    async with running(tmp_path, store, board.port, puback_timeout_s=0.5) as agent:
        agent.read(1.0)
        await until(lambda: board.centre.stored)
        assert agent.uplink.state.protocol == "3.1.1"


async def test_correct_and_wrong_topics_and_payloads(board: FakeThingsBoard) -> None:
    async with session(board) as link:
        assert await link.publish_one(TELEMETRY, reading("m")) == ""
        assert await link.publish_one("v1/gateway/wrong", b"{}") == "Topic name invalid"
        assert await link.publish_one(TELEMETRY, b"{") == "Payload format invalid"
        assert await link.publish_one(TELEMETRY, b'{"m":[1]}') == "Payload format invalid"


async def test_close_transport_session_on_silence(board: FakeThingsBoard) -> None:
    """The platform ends a session on which nothing moves; our pings keep it."""
    board.behaviour.own_session_s = 0.3
    async with session(board) as link:
        await until(link.gone.done)
        with pytest.raises(ConnectionError):
            link.check()


# ------------------------------------------------------- links


FAULTS: dict[str, Callable[[FakeThingsBoard], None]] = {
    "reset": lambda board: board.drop(),
    "half-open": lambda board: board.half_open(),
}


@BOTH
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broken_link_loses_nothing(
    board: FakeThingsBoard, tmp_path: Path, store: Store, *, version: str, fault: str
) -> None:
    async with running(tmp_path, store, board.port, version) as agent:
        for at in range(60):
            agent.read(float(at), ts=TS + at)
            if at % 20 == 10:
                FAULTS[fault](board)
            await asyncio.sleep(0.01)
        await until(lambda: len(board.centre.stored) == 60, 30)
    assert board.centre.differing == []


@BOTH
async def test_a_slow_dribbling_link_loses_nothing(tmp_path: Path, store: Store, version: str) -> None:
    behaviour = Behaviour(read_bytes_s=20_000, dribble=True)
    async with FakeThingsBoard(behaviour) as board, running(tmp_path, store, board.port, version) as agent:
        for at in range(100):
            agent.read(float(at), ts=TS + at)
        await until(lambda: len(board.centre.stored) == 100, 30)
    assert board.centre.differing == []


async def test_pubacks_that_never_come(board: FakeThingsBoard, tmp_path: Path, store: Store) -> None:
    """The message is stored but not acknowledged: it goes again, as an identical upsert."""
    lost = iter([True] * 2)
    board.behaviour.withhold_puback = lambda topic, payload: topic == TELEMETRY and next(lost, False)
    async with running(tmp_path, store, board.port) as agent:
        agent.read(1.0)
        await until(lambda: agent.uplink.state.backlog == 0 and board.centre.identical, 30)
    assert board.centre.stored == {("meter", "p0", TS): 1.0}
    assert board.centre.differing == []


# ------------------------------------------------------- a real broker


@BOTH
async def test_calls_at_a_real_broker(
    mosquitto: Mosquitto, tmp_path: Path, store: Store, version: str
) -> None:
    async with (
        running(tmp_path, store, mosquitto.port, version) as agent,
        aiomqtt.Client("127.0.0.1", mosquitto.port) as centre,
    ):
        await centre.subscribe("v1/devices/me/rpc/response/+", qos=1)
        await asyncio.sleep(0.3)
        request = json.dumps({"method": "getValue", "params": True})
        await centre.publish("v1/devices/me/rpc/request/41", request, qos=1)
        async with asyncio.timeout(5):
            async for message in centre.messages:
                if str(message.topic).endswith("/41"):
                    assert json.loads(bytes(message.payload)) == {"value1": "A", "value2": "B"}  # type: ignore[arg-type]
                    break
        assert agent.calls == [("", "getValue", True)]
