"""One connection against the fake: what each answer, or its absence, is taken for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from agent.uplink.mqtt import Session, TakenOverError
from agent.uplink.uplink import VERSIONS
from tests.conftest import until
from tests.thingsboard import FakeThingsBoard

BOTH = pytest.mark.parametrize("version", ["5", "3.1.1"])
TELEMETRY = "v1/gateway/telemetry"


@pytest.fixture
async def board() -> AsyncIterator[FakeThingsBoard]:
    async with FakeThingsBoard() as board:
        yield board


def session(board: FakeThingsBoard | int, version: str = "5", username: str = "T0KEN") -> Session:
    return Session(
        "127.0.0.1",
        board if isinstance(board, int) else board.port,
        version=VERSIONS[version],
        username=username,
        password=None,
        client_id=None,
        tls=None,
        inflight_max=8,
        puback_timeout_s=0.4,
        keepalive_s=60,
    )


def reading(device: str, ts: int = 1) -> bytes:
    return b'{"%b":[{"ts":%d,"values":{"a":1.5}}]}' % (device.encode(), ts)


@BOTH
async def test_one_message_is_answered_beside_the_stream(board: FakeThingsBoard, version: str) -> None:
    board.behaviour.duplicate_pubacks, board.behaviour.shuffle_pubacks = 2, 5
    async with session(board, version) as link:
        await link.publish_acked(TELEMETRY, reading("stream"), "stream")
        assert await link.publish_one(TELEMETRY, reading("one"), "one") == ""
        assert await link.settle() == {}
        assert set(link.spoke_s) == {"stream", "one"}
    assert len(board.centre.stored) == 2


async def test_many_at_once_wait_for_room_and_each_has_its_own_answer(board: FakeThingsBoard) -> None:
    board.behaviour.refused_devices = {f"d{at}": 0x80 for at in range(0, 60, 2)}
    board.behaviour.shuffle_pubacks = 7
    async with session(board) as link:
        answers = await asyncio.gather(*(link.publish_one(TELEMETRY, reading(f"d{at}")) for at in range(60)))
    assert [bool(answer) for answer in answers] == [at % 2 == 0 for at in range(60)]
    assert {name for name, _, _ in board.centre.stored} == {f"d{at}" for at in range(1, 60, 2)}


@BOTH
async def test_a_message_without_puback_is_a_time_out(board: FakeThingsBoard, version: str) -> None:
    board.behaviour.withhold_puback = lambda topic, payload: b"lost" in payload
    async with session(board, version) as link:
        with pytest.raises(TimeoutError, match=r"no PUBACK in 0\.4 s"):
            await link.publish_one(TELEMETRY, reading("lost"))
        assert await link.publish_one(TELEMETRY, reading("found")) == ""


@BOTH
@pytest.mark.parametrize("how", ["publish_one", "settle"])
async def test_a_close_after_the_puback_means_that_nothing_was_taken(
    board: FakeThingsBoard, version: str, how: str
) -> None:
    board.behaviour.limits.gateway_telemetry_messages = "1:600"
    with pytest.raises(ConnectionError, match="lost"):  # noqa: PT012 - whichever of them meets it
        async with session(board, version) as link:
            assert await link.publish_one(TELEMETRY, reading("first")) == ""
            if how == "settle":
                await link.publish_acked(TELEMETRY, reading("second"), "second")
                await link.settle()
                await asyncio.wait((link.gone,), timeout=1)
                link.check()
            else:
                await link.publish_one(TELEMETRY, reading("second"))
    assert {name for name, _, _ in board.centre.stored} == {"first"}


async def test_another_box_with_our_token_is_named(board: FakeThingsBoard) -> None:
    async with session(board) as mine:
        await mine.publish_one(TELEMETRY, reading("a"))
        async with session(board):
            await until(mine.gone.done)
            with pytest.raises(TakenOverError, match="two boxes must not share a token"):
                mine.check()


async def test_an_end_that_comes_with_the_welcome_is_an_end(free_port: Callable[[], int]) -> None:
    async def door(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(bytes((0x20, 3, 0, 0, 0, 0xE0, 1, 0x8E)))  # CONNACK, DISCONNECT "taken over"
        await reader.read()
        writer.close()

    port = free_port()
    server = await asyncio.start_server(door, "127.0.0.1", port)
    with pytest.raises(TakenOverError):
        async with session(port):
            await asyncio.sleep(5)
    server.close()


async def test_a_connection_that_is_left_while_it_is_made_ends_without_a_word(
    free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    met = asyncio.Event()

    async def door(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        met.set()
        await asyncio.sleep(0.1)
        writer.transport.abort()

    port = free_port()
    server = await asyncio.start_server(door, "127.0.0.1", port)
    task = asyncio.create_task(session(port).__aenter__())
    await met.wait()
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0.2)
    server.close()
    assert task.cancelled()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def test_a_message_that_is_too_large_is_named(board: FakeThingsBoard) -> None:
    with pytest.raises(ConnectionError, match="larger than the centre takes"):
        async with session(board) as link:
            await link.publish_one(TELEMETRY, b"[" * 70_000)


@BOTH
async def test_what_the_centre_sends_comes_in_and_the_loss_ends_it(
    board: FakeThingsBoard, version: str
) -> None:
    seen = []
    with pytest.raises(ConnectionError):  # noqa: PT012 - the loop is what ends
        async with session(board, version) as link:
            await link.subscribe_to("v1/devices/me/attributes")
            board.centre.set_shared("gateway", limit=1)
            async for topic, payload in link.incoming():
                seen.append((topic, payload))
                board.drop()
    assert seen == [("v1/devices/me/attributes", b'{"limit": 1}')]


@BOTH
async def test_a_subscription_that_is_refused_is_said(board: FakeThingsBoard, version: str) -> None:
    async with session(board, version) as link:
        with pytest.raises(ConnectionError, match="refuses the subscription to v1/#"):
            await link.subscribe_to("v1/devices/me/attributes", "v1/#")


async def test_a_message_of_the_centre_larger_than_our_limit_never_comes(board: FakeThingsBoard) -> None:
    async with session(board) as link:
        await link.subscribe_to("v1/devices/me/attributes")
        board.centre.set_shared("gateway", text="x" * 70_000)
        board.centre.set_shared("gateway", text="y")
        async for _, payload in link.incoming():
            assert payload == b'{"text": "y"}'
            break


async def test_wrong_credentials_are_an_outage_with_words(board: FakeThingsBoard) -> None:
    with pytest.raises(ConnectionError, match="Bad user name or password"):
        async with session(board, username="wrong"):
            pass


async def test_a_stop_while_connecting_leaves_no_error_behind(board: FakeThingsBoard) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    board.behaviour.silent = True

    async def connect() -> None:
        async with session(board):
            pass

    connecting = asyncio.create_task(connect())
    await until(lambda: board.connections)
    await asyncio.sleep(0.05)
    connecting.cancel()
    await asyncio.wait([connecting])
    board.drop()
    await asyncio.sleep(0.05)
    assert connecting.cancelled()
    assert not complaints
