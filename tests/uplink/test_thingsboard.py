"""The uplink against a real Mosquitto: outages, silence, refusal, restarts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.model import Device, Group, Point, Reading
from agent.store import Store
from agent.supervise import Backoff, supervise
from agent.uplink import ThingsBoard
from agent.uplink.patience import Patience
from agent.uplink.thingsboard import ThingsBoardOptions
from tests.conftest import Mosquitto, group_of, until
from tests.uplink.center import Center, Seen


def options(folder: Path, port: int, **more: object) -> ThingsBoardOptions:
    token = folder / "token"
    token.write_text("T0KEN\n")
    token.chmod(0o600)
    base = {"kind": "thingsboard", "name": "center", "host": "127.0.0.1", "port": port, "token_file": token}
    return ThingsBoardOptions.model_validate(base | {"puback_timeout_s": 1.0, "retry_s_max": 1.0} | more)


@asynccontextmanager
async def delivering(uplink: ThingsBoard) -> AsyncIterator[None]:
    task = asyncio.create_task(supervise(uplink.run, uplink.episode, Backoff(0.1, 0.5)))
    try:
        yield
    finally:
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError), result


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "readings.db") as store:
        yield store


@pytest.fixture
async def center(mosquitto: Mosquitto) -> AsyncIterator[Center]:
    async with Center.at(mosquitto.port) as center:
        yield center


A, B = group_of("a"), group_of("b")
HASTY = Patience(held_first_s=0.2)


def fill(store: Store, count: int, start: int = 0) -> None:
    store.append(
        [Reading(g, 1000 + at, (float(at), at / 10)) for at in range(start, start + count) for g in (A, B)]
    )


def wanted(count: int) -> Seen:
    return {
        (device, 1000 + at, name): value
        for device in "ab"
        for at in range(count)
        for name, value in (("p0", float(at)), ("p1", at / 10))
    }


async def test_every_value_arrives_after_its_device_was_introduced(
    tmp_path: Path, mosquitto: Mosquitto, center: Center, store: Store
) -> None:
    uplink = ThingsBoard(options(tmp_path, mosquitto.port), store)
    async with delivering(uplink):
        fill(store, 300)
        await until(lambda: uplink.state.backlog == 0)
        fill(store, 10, 300)
        await until(lambda: len(center.values) == 4 * 310)
    assert center.values == wanted(310)
    topics = [topic for topic, _ in center.messages]
    assert topics[:2] == ["v1/gateway/connect"] * 2
    assert center.messages[0][1] == {"device": "a", "type": "test"}
    assert topics.count("v1/gateway/connect") == 2
    assert all(len(payload) == 1 for topic, payload in center.messages if topic == "v1/gateway/telemetry")
    assert uplink.state.protocol == "5"
    assert uplink.state.delivered_values == 4 * 310


async def test_the_agents_own_points_belong_to_the_gateway(
    tmp_path: Path, mosquitto: Mosquitto, center: Center, store: Store
) -> None:
    own = Group(Device("agent", "uicps-agent"), "health", (Point("backlog"),), 1000)
    async with delivering(ThingsBoard(options(tmp_path, mosquitto.port), store)):
        store.append([Reading(own, 5, (3.0,))])
        await until(lambda: center.messages)
    assert center.messages == [("v1/devices/me/telemetry", [{"ts": 5, "values": {"backlog": 3.0}}])]


async def test_a_refusing_broker_costs_nothing(
    tmp_path: Path, mosquitto: Mosquitto, center: Center, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    uplink = ThingsBoard(options(tmp_path, mosquitto.port), store)
    async with delivering(uplink):
        fill(store, 50)
        await until(lambda: len(center.values) == 200)
        await mosquitto.kill()
        fill(store, 50, 50)
        await until(lambda: "cannot connect" in uplink.state.last_error)
        assert uplink.state.backlog == 100
        await mosquitto.start()
        await center.subscribed()
        fill(store, 50, 100)
        await until(lambda: len(center.values) == 600)
    assert center.values == wanted(150)
    assert center.differing == 0
    mine = [record for record in caplog.records if record.name == "agent.uplink.uplink"]
    assert [record.levelname for record in mine] == ["WARNING", "INFO"]


async def test_a_silent_link_is_noticed_and_costs_nothing(
    tmp_path: Path, mosquitto: Mosquitto, center: Center, store: Store
) -> None:
    uplink = ThingsBoard(options(tmp_path, mosquitto.port), store)
    async with delivering(uplink):
        fill(store, 50)
        await until(lambda: len(center.values) == 200)
        mosquitto.signal(signal.SIGSTOP)
        fill(store, 50, 50)
        await until(lambda: "no PUBACK in 1 s" in uplink.state.last_error)
        assert store.outbox.progress("center").beyond == 100
        await asyncio.sleep(1)
        await mosquitto.kill()  # what was in flight is gone
        await mosquitto.start()
        await center.subscribed()
        fill(store, 1, 100)
        await until(lambda: len(center.values) == 404)
    assert center.values == wanted(101)


async def test_a_restart_goes_on_after_the_cursor(
    tmp_path: Path, mosquitto: Mosquitto, center: Center
) -> None:
    async with Store(tmp_path / "readings.db") as store:
        uplink = ThingsBoard(options(tmp_path, mosquitto.port), store)
        async with delivering(uplink):
            fill(store, 20)
            await until(lambda: uplink.state.backlog == 0)
        fill(store, 20, 20)
    first = len(center.messages)
    async with (
        Store(tmp_path / "readings.db") as store,
        delivering(ThingsBoard(options(tmp_path, mosquitto.port), store)),
    ):
        await until(lambda: len(center.values) == 160)
    again = [p for t, p in center.messages[first:] if t == "v1/gateway/telemetry"]
    assert sum(len(entries) for payload in again for entries in payload.values()) == 40


class ChoosyBroker:
    """A broker of MQTT 5 that answers each PUBLISH with the reason that `judge` gives; None: no PUBACK."""

    def __init__(self, judge: Callable[[str, dict], int | None]) -> None:
        self.judge = judge
        self.taken: Seen = {}
        self.hang_up = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, body = await self._packet(reader)
                if kind == 0x10:
                    writer.write(bytes((0x20, 3, 0, 0, 0)))
                elif kind >> 4 == 3:
                    end = 2 + int.from_bytes(body[:2], "big")
                    self._publish(writer, body[2:end].decode(), body[end : end + 2], body[end + 3 :])
        writer.close()

    async def _packet(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        kind, length, shift = (await reader.readexactly(1))[0], 0, 0
        while True:
            byte = (await reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return kind, await reader.readexactly(length)

    def _publish(self, writer: asyncio.StreamWriter, topic: str, mid: bytes, payload: bytes) -> None:
        message = json.loads(payload)
        reason = self.judge(topic, message)
        if reason == 0 and topic == "v1/gateway/telemetry":
            for device, entries in message.items():
                for entry in entries:
                    self.taken |= {(device, entry["ts"], name): v for name, v in entry["values"].items()}
        if reason is not None:
            writer.write(bytes((0x40, 3)) + mid + bytes((reason,)))
        if reason and self.hang_up:
            writer.close()


@asynccontextmanager
async def choosy(port: int, judge: Callable[[str, dict], int | None]) -> AsyncIterator[ChoosyBroker]:
    broker = ChoosyBroker(judge)
    server = await asyncio.start_server(broker.serve, "127.0.0.1", port)
    try:
        yield broker
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("answer", [0x80, 0x97, None], ids=["refused", "limit", "no PUBACK"])
@pytest.mark.parametrize("at", ["v1/gateway/connect", "v1/gateway/telemetry"])
async def test_a_device_the_centre_does_not_take_holds_nobody_up_and_loses_nothing(
    tmp_path: Path,
    store: Store,
    free_port: Callable[[], int],
    *,
    answer: int | None,
    at: str,
) -> None:
    mended = False

    def judge(topic: str, message: dict) -> int | None:
        bad = topic == at and (message.get("device") == "b" or "b" in message)
        return answer if bad and not mended else 0

    port = free_port()
    async with choosy(port, judge) as broker:
        uplink = ThingsBoard(options(tmp_path, port, puback_timeout_s=0.5), store, patience=HASTY)
        async with delivering(uplink):
            fill(store, 30)
            await until(lambda: sum(key[0] == "a" for key in broker.taken) == 60)
            await until(lambda: uplink.state.held_devices == 1)
            fill(store, 30, 30)
            await until(lambda: sum(key[0] == "a" for key in broker.taken) == 120)
            assert store.outbox.progress("center/b").beyond == 0
            assert not any(key[0] == "b" for key in broker.taken)
            await store.commit()
        assert "center/b" in store.outbox.under("center/")
        mended = True
        uplink = ThingsBoard(
            options(tmp_path, port, puback_timeout_s=0.5), store, patience=HASTY
        )  # a restart keeps the hold
        assert uplink.state.held_devices == 1
        async with delivering(uplink):
            filled = 60
            async with asyncio.timeout(10):
                while uplink.state.held_devices or len(broker.taken) < 4 * filled:
                    fill(store, 1, filled)
                    filled += 1
                    await asyncio.sleep(0.1)
        assert broker.taken == wanted(filled)
        assert store.outbox.under("center/") == []


async def test_a_refusal_that_ends_the_session_is_an_outage_not_a_hold(
    tmp_path: Path, store: Store, free_port: Callable[[], int]
) -> None:
    port = free_port()
    async with choosy(port, lambda topic, message: 0x97) as broker:
        broker.hang_up = True
        uplink = ThingsBoard(options(tmp_path, port), store)
        async with delivering(uplink):
            fill(store, 5)
            await until(lambda: "after a refusal (Quota exceeded)" in uplink.state.last_error)
            assert uplink.state.held_devices == 0
    assert store.outbox.progress("center").beyond == 0


async def test_a_broker_that_was_down_at_first_is_still_met_at_5(
    tmp_path: Path, store: Store, free_port: Callable[[], int]
) -> None:
    port = free_port()
    uplink = ThingsBoard(options(tmp_path, port), store)
    async with delivering(uplink):
        await until(lambda: uplink.state.last_error)
        async with choosy(port, lambda topic, message: 0):
            await until(lambda: uplink.state.connected)
            assert uplink.state.protocol == "5"


async def test_an_emptied_log_is_passed_over_and_what_follows_is_not(
    tmp_path: Path, mosquitto: Mosquitto, center: Center
) -> None:
    async with Store(tmp_path / "readings.db") as store:
        fill(store, 5)
    with sqlite3.connect(tmp_path / "readings.db") as db:
        db.execute("DELETE FROM reading")
    async with Store(tmp_path / "readings.db") as store:
        uplink = ThingsBoard(options(tmp_path, mosquitto.port), store)
        async with delivering(uplink):
            await until(lambda: uplink.state.backlog == 0)
            fill(store, 20)
            await until(lambda: len(center.values) == 80)
    assert center.values == wanted(20)


@pytest.mark.parametrize("answer", [b"", bytes((0x20, 2, 0, 1))], ids=["hangs up", "refuses"])
async def test_an_old_broker_is_met_at_3_1_1(
    tmp_path: Path, store: Store, free_port: Callable[[], int], answer: bytes
) -> None:
    async def old_broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            head = await reader.readexactly(2)
            body = await reader.readexactly(head[1])
            known = body[6] == 4
            writer.write(bytes((0x20, 2, 0, 0)) if known else answer)
            await reader.read(-1 if known else 0)
        writer.close()

    port = free_port()
    server = await asyncio.start_server(old_broker, "127.0.0.1", port)
    uplink = ThingsBoard(options(tmp_path, port), store)
    async with delivering(uplink):
        await until(lambda: uplink.state.connected)
        assert uplink.state.protocol == "3.1.1"
        assert uplink.state.last_error == ""
    server.close()


async def test_a_lost_token_is_an_outage_with_words(
    tmp_path: Path, mosquitto: Mosquitto, store: Store
) -> None:
    wanted_options = options(tmp_path, mosquitto.port)
    wanted_options.token_file.unlink()
    uplink = ThingsBoard(wanted_options, store)
    async with delivering(uplink):
        await until(lambda: "token" in uplink.state.last_error)
