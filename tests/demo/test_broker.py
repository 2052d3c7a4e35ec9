"""The centre's stand-in: what a real MQTT client gets from it."""

import asyncio
import logging

import aiomqtt
import orjson
import pytest

from agent.demo.broker import OWN_TELEMETRY, TELEMETRY, Center, contents

MESSAGE = orjson.dumps(
    {
        "main-meter": [
            {"ts": 1, "values": {"voltage_l1": 127.1, "frequency": 60.0}},
            {"ts": 2, "values": {"voltage_l1": 127.2}},
        ],
        "room-101": [{"ts": 1, "values": {"temperature": 23.5}}],
    }
)

OWN = b'[{"ts": 1, "values": {"up_s": 1.0}}, {"ts": 2, "values": {"up_s": 2.0}}]'


def client(center: Center, **options: object) -> aiomqtt.Client:
    return aiomqtt.Client(
        center.host, center.port, protocol=aiomqtt.ProtocolVersion.V311, timeout=5, **options
    )


async def test_takes_counts_and_passes_on() -> None:
    heard = []
    async with (
        Center(listen=lambda topic, payload: heard.append((topic, payload))) as center,
        client(center, username="token") as publisher,
        client(center) as subscriber,
    ):
        await subscriber.subscribe("v1/#", qos=1)
        await publisher.publish(TELEMETRY, MESSAGE, qos=1)
        assert (center.messages, center.values, center.malformed) == (1, 4, 0)
        message = await asyncio.wait_for(anext(subscriber.messages), 5)
        assert (message.topic.value, message.payload) == (TELEMETRY, MESSAGE)
        await publisher.publish(TELEMETRY, b"no JSON", qos=1)
        await publisher.publish(OWN_TELEMETRY, OWN, qos=1)
        await publisher.publish("v1/gateway/connect", b"{}", qos=1)
    assert center.own_readings == 2
    assert (center.messages, center.readings, center.values, center.malformed) == (2, 3, 4, 1)
    assert heard == [
        (TELEMETRY, MESSAGE), (TELEMETRY, b"no JSON"), (OWN_TELEMETRY, OWN), ("v1/gateway/connect", b"{}"),
    ]  # fmt: skip


async def test_acknowledges_two_hundred_messages_of_a_kilobyte_at_once() -> None:
    logging.getLogger("mqtt").setLevel(logging.ERROR)
    payload = orjson.dumps({"meter": [{"ts": 1, "values": {f"point_{n}": n + 0.5 for n in range(70)}}]})
    assert len(payload) > 1000
    async with Center() as center:
        async with client(center, max_inflight_messages=100) as publisher:
            await asyncio.gather(*(publisher.publish(TELEMETRY, payload, qos=1) for _ in range(200)))
        assert (center.messages, center.values) == (200, 200 * 70)


async def test_all_that_was_acknowledged_is_counted_when_the_publisher_vanishes() -> None:
    async with Center() as center:
        for round_number in range(1, 6):
            publisher = client(center, identifier="gateway")
            async with publisher:
                for _ in range(10):
                    await publisher.publish(TELEMETRY, MESSAGE, qos=1)
            assert center.messages == round_number * 10


async def test_stops_and_starts_again_on_the_same_port() -> None:
    center = Center()
    await center.start()
    port = center.port
    async with client(center) as publisher:
        await publisher.publish(TELEMETRY, MESSAGE, qos=1)
    await center.stop()
    with pytest.raises(aiomqtt.MqttError):
        async with client(center):
            pass
    await center.start()
    assert center.port == port
    async with client(center) as publisher:
        await publisher.publish(TELEMETRY, MESSAGE, qos=1)
    await center.stop()
    assert center.messages == 2


async def test_stopping_drops_clients() -> None:
    async with Center() as center, client(center) as connected:
        await center.stop()
        with pytest.raises(aiomqtt.MqttError):
            await asyncio.wait_for(anext(connected.messages), 5)


async def test_version_5_is_refused_in_words() -> None:
    async with Center() as center:
        with pytest.raises(aiomqtt.MqttError, match="Unsupported protocol version"):
            async with aiomqtt.Client(
                center.host, center.port, protocol=aiomqtt.ProtocolVersion.V5, timeout=5
            ):
                pass


async def test_port_taken() -> None:
    async with Center() as center:
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{center.port}"):
            await Center(center.port).start()


def test_contents() -> None:
    assert contents(MESSAGE) == (3, 4)
    for payload in (b"", b"[]", b"1", b'{"a": [1]}', b'{"a": [{"ts": 1}]}', b"\xff"):
        with pytest.raises(ValueError, match="expected gateway telemetry"):
            contents(payload)
