"""The fake against a plain paho: it must do what the platform does before anything is tested on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.thingsboard import Behaviour, Centre, Entity, FakeThingsBoard, Limits, payloads
from tests.thingsboard.behaviour import Bucket
from tests.thingsboard.plain import Plain

BOTH = pytest.mark.parametrize("version", ["5", "3.1.1"])
TELEMETRY, CONNECT = "v1/gateway/telemetry", "v1/gateway/connect"


@pytest.fixture
async def board() -> AsyncIterator[FakeThingsBoard]:
    async with FakeThingsBoard() as board:
        yield board


def entry(ts: int = 1000, **values: object) -> dict[str, object]:
    return {"ts": ts, "values": values}


@BOTH
async def test_telemetry_is_stored_with_its_types(board: FakeThingsBoard, version: str) -> None:
    async with Plain(board.port, version) as client:
        assert await client.publish(CONNECT, {"device": "m", "type": "meter"}) == 0
        assert await client.publish(TELEMETRY, {"m": [entry(a=1, b=2.0, c="x", d=True)]}) == 0
        assert await client.publish(TELEMETRY, {"m": [entry(a=1, b=2)]}) == 0
    assert board.centre.devices["m"].type == "meter"
    assert board.centre.stored == {
        ("m", "a", 1000): 1,
        ("m", "b", 1000): 2,
        ("m", "c", 1000): "x",
        ("m", "d", 1000): True,
    }
    assert board.centre.identical == 1
    assert board.centre.differing == [(("m", "b", 1000), 2.0, 2)]


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("1", 1), ("1e3", 1000), ("101E-1", 10.1), ("42.0", 42.0), ("1.5", 1.5),
        ("0.30000000000000004", "0.30000000000000004"), ("1.5e-17", "1.5e-17"), ("1E19", "1E19"),
        ("NaN", "NaN"), ('"007"', 7), ('"1.50"', 1.5), ('"x"', "x"), ("null", None),
        ("9223372036854775808", "9223372036854775808"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_value(text: str, stored: object) -> None:
    ((_, values),) = payloads.entries(payloads.parse(b'[{"ts": 1, "values": {"k": %b}}]' % text.encode()), 0)
    assert values.get("k") == stored
    assert type(values.get("k")) is type(stored)


def test_records_without_both_ts_and_values_are_plain_keys() -> None:
    assert list(payloads.entries([{"ts": 1, "temp": 2}, {"values": {"a": 1}}], 99)) == [
        (99, {"ts": 1, "temp": 2}),
        (99, {"values": {"a": 1}}),
    ]


@pytest.mark.parametrize(
    ("version", "username", "client_id", "reason"),
    [
        ("5", "wrong", "", 0x86), ("3.1.1", "wrong", "", 0x87), ("5", None, "nobody", 0x85),
        ("3.1.1", None, "nobody", 0x85), ("5", "T0KEN", "", 0),
    ],
)  # fmt: skip
async def test_connack(
    board: FakeThingsBoard, version: str, username: str | None, client_id: str, reason: int
) -> None:
    async with Plain(board.port, version, username=username, client_id=client_id) as client:
        await client.accepted()
        assert client.connack_reason == reason  # paho gives the codes of 3.1.1 as those of 5


async def test_basic_credentials(board: FakeThingsBoard) -> None:
    board.centre.add(Entity("b", gateway=True, basic=("box", "user", "secret")))
    for password, accepted in (("secret", True), ("wrong", False)):
        async with Plain(board.port, username="user", password=password, client_id="box") as client:
            assert await client.accepted() is accepted


@pytest.mark.parametrize("mqtt5", ["refused", "hang up"])
async def test_mqtt_5_may_not_be_there(board: FakeThingsBoard, mqtt5: str) -> None:
    board.behaviour.mqtt5 = mqtt5
    async with Plain(board.port) as client:
        assert await client.closed()
    async with Plain(board.port, "3.1.1") as client:
        assert await client.accepted()


async def test_a_second_session_ends_the_first(board: FakeThingsBoard) -> None:
    async with Plain(board.port) as first:
        assert await first.accepted()
        async with Plain(board.port) as second:
            assert await second.accepted()
            assert await first.closed()
            assert first.gone == 0x8E
            assert await second.publish(TELEMETRY, {"m": [entry(a=1)]}) == 0


REJECTIONS = [
    ("limited", b'{"m": [{"ts": 1, "values": {"a": 1, "b": 2}}]}', 0x97, True, 0, True),
    ("unqueued", b'{"u": [{"ts": 1, "values": {"a": 1}}]}', 0x80, True, 0, True),
    ("not made", b'{"refused": [{"ts": 1, "values": {"a": 1}}]}', 0x80, False, 0, False),
    ("no JSON", b"{", 0x99, False, None, True),
    ("shape", b"[]", 0x83, True, 0, True),
    ("poison", b'{"p": [{"ts": 1, "values": {"a": 1}}]}', 0x99, False, None, True),
    ("entry", b'{"m": [1]}', 0x99, False, None, True),
    ("empty", b'{"m": []}', None, False, None, False),
]


def troubled(release: str = "4.3") -> Behaviour:
    return Behaviour(
        release=release,
        limits=Limits(gateway_data_points="1:600"),
        unqueued=lambda device, ts, values: device == "u",
        poison=lambda device, ts, values: device == "p",
        refused_devices={"refused": 0x80},
    )


@pytest.mark.parametrize(
    ("payload", "reason_5", "closes_5", "ack_3", "closes_3"), [row[1:] for row in REJECTIONS],
    ids=[row[0] for row in REJECTIONS],
)  # fmt: skip
@BOTH
async def test_rejections_of_the_gateway_api(
    *, payload: bytes, reason_5: int | None, closes_5: bool, ack_3: int | None, closes_3: bool, version: str
) -> None:
    reason, closes = (reason_5, closes_5) if version == "5" else (ack_3, closes_3)
    async with FakeThingsBoard(troubled()) as board, Plain(board.port, version) as client:
        assert await client.publish(TELEMETRY, payload, 1 if reason is not None or closes else 0.2) == reason
        if closes:
            assert await client.closed()
        else:
            assert await client.publish("v1/gateway/nothing", {}) == (0x90 if version == "5" else 0)
    assert board.centre.stored == {}


@BOTH
async def test_older_releases_acknowledge_each_entry_and_say_nothing_of_a_device_they_cannot_make(
    version: str,
) -> None:
    async with FakeThingsBoard(troubled("4.1")) as board, Plain(board.port, version) as client:
        board.behaviour.limits.gateway_data_points = ""
        assert await client.publish(TELEMETRY, {"refused": [entry(a=1)]}, 0.2) is None
        await client.publish(TELEMETRY, {"a": [entry(a=1)], "b": [entry(a=1)]})
        assert await client.publish(TELEMETRY, {"a": [entry(a=2)]}) == 0
        packets = board.connections
        assert len(packets) == 1


@BOTH
async def test_more_than_the_limit_of_bytes_ends_the_session(board: FakeThingsBoard, version: str) -> None:
    topic_and_id = 2 + len(TELEMETRY) + 2 + (version == "5")
    for size, reason in ((65_536, 0x99 if version == "5" else None), (65_537, None)):
        async with Plain(board.port, version) as client:
            assert await client.publish(TELEMETRY, b"[" * (size - topic_and_id)) == reason
            if reason is None:
                assert await client.closed()


@BOTH
async def test_pubacks_that_never_come_come_twice_or_out_of_order(
    board: FakeThingsBoard, version: str
) -> None:
    async with Plain(board.port, version) as client:
        board.behaviour.withhold_puback = lambda topic, payload: b"lost" in payload
        assert await client.publish(TELEMETRY, {"m": [entry(lost=1)]}, 0.2) is None
        board.behaviour.shuffle_pubacks = 8
        sent = [client.send(TELEMETRY, {"m": [entry(at, a=1)]}) for at in range(16)]
        assert await client.until(lambda: len(client.pubacks) == 16)
        assert sorted(mid for mid, _ in client.pubacks) == sent != [mid for mid, _ in client.pubacks]
    assert ("m", "lost", 1000) in board.centre.stored


@BOTH
async def test_subscriptions(board: FakeThingsBoard, version: str) -> None:
    async with Plain(board.port, version) as client:
        granted = await client.subscribe("v1/gateway/rpc", "v1/#", "v1/devices/me/attributes", qos=2)
        assert granted == [1, 0x8F if version == "5" else 0x80, 1]


@BOTH
async def test_calls_of_the_gateway_and_of_a_sub_device(board: FakeThingsBoard, version: str) -> None:
    async with Plain(board.port, version) as client:

        def reply(topic: str, message: dict) -> None:
            if topic == "v1/gateway/rpc":
                client.send(topic, {"device": message["device"], "id": message["data"]["id"], "data": "sub"})
            else:
                client.send(topic.replace("request", "response"), {"own": message["params"]})

        client.on_push = reply
        assert await client.subscribe("v1/devices/me/rpc/request/+") == [1]
        assert await client.publish(CONNECT, {"device": "m"}) == 0
        assert await board.centre.rpc("gateway", "status", 7) == {"own": 7}
        assert await board.centre.rpc("m", "read", {}) == "sub"
        assert client.pushes[1] == (
            "v1/gateway/rpc",
            {"device": "m", "data": {"id": 0, "method": "read", "params": {}}},
        )
        board.connections[0].expire("m")
        with pytest.raises(TimeoutError):
            await board.centre.rpc("m", "read", {}, timeout_s=0.1)


async def test_a_call_without_reply_comes_again_with_the_same_id(board: FakeThingsBoard) -> None:
    async with Plain(board.port) as client:
        await client.publish(CONNECT, {"device": "m"})
        call = asyncio.create_task(board.centre.rpc("m", "write", 1))
        await client.pushed()
        first = client.pushes
        board.drop()
    async with Plain(board.port) as client:
        await client.publish(CONNECT, {"device": "m"})
        assert await client.pushed() == first
        assert await client.publish("v1/gateway/rpc", {"device": "m", "id": 0, "data": None}) == 0
        assert await call is None


async def test_attributes(board: FakeThingsBoard) -> None:
    async with Plain(board.port) as client:
        await client.subscribe("v1/devices/me/attributes", "v1/devices/me/attributes/response/+")
        board.centre.set_shared("gateway", limit=5, other=1)
        assert await client.publish("v1/devices/me/attributes", {"version": "1"}) == 0
        await client.publish("v1/devices/me/attributes/request/3", {"sharedKeys": "limit,none"})
        await client.publish("v1/devices/me/attributes/request/4", {})
        await client.publish(CONNECT, {"device": "m"})
        board.centre.set_shared("m", k=1)
        await client.publish(
            "v1/gateway/attributes/request", {"id": 1, "device": "m", "client": False, "key": "k"}
        )
        board.centre.delete_shared("m", "k")
        pushes = await client.pushed(6)
    assert pushes == [
        ("v1/devices/me/attributes", {"limit": 5, "other": 1}),
        ("v1/devices/me/attributes/response/3", {"shared": {"limit": 5}}),
        (
            "v1/devices/me/attributes/response/4",
            {"client": {"version": "1"}, "shared": {"limit": 5, "other": 1}},
        ),
        ("v1/gateway/attributes", {"device": "m", "data": {"k": 1}}),
        ("v1/gateway/attributes/response", {"id": 1, "device": "m", "value": 1}),
        ("v1/gateway/attributes", {"device": "m", "data": {"deleted": ["k"]}}),
    ]


async def test_session_limits_are_told(board: FakeThingsBoard) -> None:
    board.behaviour.limits = Limits(own_messages="10:1", gateway_data_points="5:1,9:60")
    async with Plain(board.port) as client:
        await client.publish("v1/devices/me/rpc/request/9", {"method": "getSessionLimits", "params": {}})
        ((topic, limits),) = await client.pushed()
    assert topic == "v1/devices/me/rpc/response/9"
    assert limits["maxPayloadSize"] == 65536
    assert limits["rateLimits"]["messages"] == "10:1"
    assert limits["gatewayRateLimits"]["telemetryDataPoints"] == "5:1,9:60"
    assert limits["gatewayRateLimits"]["messages"] is None


def test_buckets_refill_greedily() -> None:
    now_s = 0.0
    bucket = Bucket("2:1,3:60", lambda: now_s)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now_s = 1.0
    assert [bucket.take(), bucket.take()] == [True, False]  # the second limit has 3 a minute


async def test_provisioning_gives_a_token(board: FakeThingsBoard) -> None:
    board.behaviour.provisioning = {("key", "secret"): "profile"}
    async with Plain(board.port, username="provision") as client:
        await client.subscribe("/provision/response")
        for secret in ("wrong", "secret"):
            asked = {"provisionDeviceKey": "key", "provisionDeviceSecret": secret, "deviceName": "box"}
            await client.publish("/provision/request", asked | {"gateway": True})
        (_, refused), (_, made) = await client.pushed(2)
        assert refused["status"] == "NOT_FOUND"
        assert await client.publish(TELEMETRY, {}) == 0x90
    async with Plain(board.port, username=made["credentialsValue"]) as client:
        assert await client.publish(TELEMETRY, {"m": [entry(a=1)]}) == 0


async def test_deleted_and_renamed_devices_come_back_as_new_ones(board: FakeThingsBoard) -> None:
    async with Plain(board.port) as client:
        await client.subscribe("v1/devices/me/rpc/request/+")
        await client.publish(CONNECT, {"device": "m", "type": "meter"})
        await client.publish(TELEMETRY, {"m": [entry(a=1)]})
        board.centre.rename("m", "n")
        board.centre.delete("n")
        pushes = await client.pushed(2)
        assert [message["method"] for _, message in pushes] == [
            "gateway_device_renamed",
            "gateway_device_deleted",
        ]
        await client.publish(TELEMETRY, {"m": [entry(a=2)]})
    assert board.centre.devices["m"].type == "default"
    assert board.centre.stored == {("m", "a", 1000): 2}


async def test_silence_half_open_and_reset(board: FakeThingsBoard) -> None:
    async with Plain(board.port) as client:
        await client.accepted()
        board.behaviour.silent = True
        assert await client.publish(TELEMETRY, {"m": [entry(a=1)]}, 0.2) is None
        board.behaviour.silent = False
        assert await client.until(lambda: client.pubacks)
        board.half_open()
        assert await client.publish(TELEMETRY, {"m": [entry(b=1)]}, 0.2) is None
        assert client.gone is None
    assert ("m", "b", 1000) not in board.centre.stored
    async with Plain(board.port) as client:
        await client.accepted()
        await board.kill()
        assert await client.closed()
    await board.start()
    async with Plain(board.port) as client:
        assert await client.accepted()


async def test_a_dribbling_slow_link_is_slow_and_right(board: FakeThingsBoard) -> None:
    board.behaviour.dribble, board.behaviour.read_bytes_s = True, 20_000
    async with Plain(board.port) as client:
        assert await client.publish(TELEMETRY, {"m": [entry(a=1, text="x" * 2000)]}) == 0
    assert len(board.centre.stored) == 2


async def test_a_device_that_is_no_gateway_is_not_heard(board: FakeThingsBoard) -> None:
    board.centre.add(Entity("plain", token="P"))
    async with Plain(board.port, username="P") as client:
        assert await client.publish(TELEMETRY, {"m": [entry(a=1)]}, 0.2) is None
        assert await client.publish("v1/devices/me/telemetry", {"a": 1}) == 0
    assert [key[:2] for key in board.centre.stored] == [("plain", "a")]


def test_counts_are_by_device_and_hour() -> None:
    centre = Centre()
    for ts in (3_600_000, 3_600_001, 7_200_000):
        centre.store("m", ts, {"a": 1})
    assert centre.counts() == {("m", 3_600_000): 2, ("m", 7_200_000): 1}
