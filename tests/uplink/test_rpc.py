"""Calls of the centre: done once, answered always."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agent.uplink.rpc import (
    CALLS_MAX,
    ECHO_S,
    INTERRUPTED,
    Call,
    CallError,
    Calls,
    Memory,
    Method,
    parse,
    reply_to,
)


class Valve:
    """Counts how often it was turned; `gate` holds a turn up."""

    def __init__(self) -> None:
        self.turns: list[Any] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def turn(self, device: str, params: Any) -> Any:
        self.turns.append(params)
        await self.gate.wait()
        if params == "bad":
            raise CallError("no such way to turn")
        return {"turned": params}


TURN = Call("room", 0, "turn", 5)


class Box:
    """An agent with a valve, which can be started again."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 1000.0
        self.valve = Valve()
        self.file = folder / "calls.json"

    async def start(self) -> Calls:
        memory = Memory(self.file, lambda: self.now_s, records_max=20)
        await memory.load()

        async def size(device: str, params: Any) -> Any:
            return "x" * params

        methods = {
            "turn": Method(self.valve.turn, once=True),
            "look": Method(self.valve.turn),
            "size": Method(size),
        }
        return Calls(methods, memory, call_s_max=0.3)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


async def test_a_call_that_comes_again_is_answered_but_not_done_again(box: Box) -> None:
    calls = await box.start()
    assert await calls.answer(TURN) == await calls.answer(TURN) == {"turned": 5}
    again = await (await box.start()).answer(TURN)  # a restart between the two
    assert again == {"turned": 5}
    assert box.valve.turns == [5]
    assert await calls.answer(TURN._replace(number=1)) == {"turned": 5}
    assert await calls.answer(TURN._replace(params=6)) == {"turned": 6}  # the centre's numbers began anew
    assert box.valve.turns == [5, 5, 6]


async def test_what_only_looks_is_done_each_time_and_writes_nothing(box: Box) -> None:
    calls = await box.start()
    for _ in range(2):
        await calls.answer(TURN._replace(method="look"))
    assert len(box.valve.turns) == 2
    assert not box.file.exists()


async def test_the_same_call_long_after_its_reply_arrived_is_a_new_one(box: Box) -> None:
    calls = await box.start()
    await calls.answer(TURN)
    await calls.answered(TURN)
    await calls.answer(TURN)  # an echo: it was under way already
    assert box.valve.turns == [5]
    assert json.loads(box.file.read_text()) == {}
    box.now_s += ECHO_S + 1
    await calls.answer(TURN)
    assert box.valve.turns == [5, 5]


async def test_a_call_cut_short_by_a_restart_is_not_done_again(box: Box) -> None:
    box.valve.gate.clear()
    calls = await box.start()
    asking = asyncio.create_task(calls.answer(TURN))
    while not box.valve.turns:
        await asyncio.sleep(0.001)
    restarted = await box.start()  # as after kill -9: what is on disk is what there is
    assert await restarted.answer(TURN) == {"error": INTERRUPTED}
    assert box.valve.turns == [5]
    box.valve.gate.set()
    await asking


async def test_a_call_outlives_the_connection_it_came_by(box: Box) -> None:
    box.valve.gate.clear()
    calls = await box.start()
    lost = asyncio.create_task(calls.answer(TURN))
    await asyncio.sleep(0.02)
    lost.cancel()
    again = asyncio.create_task(calls.answer(TURN))
    await asyncio.sleep(0)
    box.valve.gate.set()
    assert await again == {"turned": 5}
    assert box.valve.turns == [5]


async def test_what_cannot_be_done_is_answered(box: Box) -> None:
    calls = await box.start()
    assert (
        "unknown method 'fly'; known: look, size, turn"
        in (await calls.answer(TURN._replace(method="fly")))["error"]
    )
    assert await calls.answer(TURN._replace(params="bad")) == {"error": "no such way to turn"}
    assert "at most" in (await calls.answer(TURN._replace(params="x" * 20_000)))["error"]
    assert "larger" in (await calls.answer(Call("", 1, "size", 40_000)))["error"]
    box.valve.gate.clear()
    assert await calls.answer(TURN) == {"error": "no outcome in 0.3 s"}


async def test_only_so_many_are_done_at_once(box: Box) -> None:
    box.valve.gate.clear()
    calls = await box.start()
    tasks = [asyncio.create_task(calls.answer(TURN._replace(number=at))) for at in range(CALLS_MAX + 1)]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert "busy" in done.pop().result()["error"]
    box.valve.gate.set()
    await asyncio.gather(*tasks)
    assert len(box.valve.turns) == CALLS_MAX


async def test_memory_is_bounded(box: Box) -> None:
    calls = await box.start()
    for number in range(25):
        await calls.answer(TURN._replace(number=number))
    assert len(json.loads(box.file.read_text())) == 20


async def test_a_disk_that_refuses_does_not_stop_a_command(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    box.file.mkdir()  # so it cannot be replaced
    calls = await box.start()
    assert await calls.answer(TURN) == await calls.answer(TURN) == {"turned": 5}
    assert box.valve.turns == [5]
    assert "calls.json" in caplog.text


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
async def test_a_broken_memory_is_as_good_as_none(box: Box, text: str) -> None:
    box.file.write_text(text)
    assert await (await box.start()).answer(TURN) == {"turned": 5}


async def test_a_bug_in_a_method_is_raised_not_answered(box: Box) -> None:
    async def broken(device: str, params: Any) -> Any:
        raise ZeroDivisionError

    calls = Calls({"broken": Method(broken)}, Memory(box.file))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await calls.answer(Call("", 0, "broken", None))


OWN = "v1/devices/me/rpc/request/"


@pytest.mark.parametrize(
    ("topic", "payload", "call"),
    [
        (f"{OWN}7", b'{"method":"m","params":{"a":1}}', Call("", 7, "m", {"a": 1})),
        (f"{OWN}0", b'{"method":"m"}', Call("", 0, "m", None)),
        ("v1/gateway/rpc", b'{"device":"d","data":{"id":3,"method":"m","params":0}}', Call("d", 3, "m", 0)),
    ],
)
def test_a_call_is_read(topic: str, payload: bytes, call: Call) -> None:
    assert parse(topic, payload) == call


@pytest.mark.parametrize(
    ("topic", "payload", "known"),
    [
        (f"{OWN}7", b"{", ("", 7)), (f"{OWN}7", b"[]", ("", 7)), (f"{OWN}7", b'{"method":""}', ("", 7)),
        (f"{OWN}x", b'{"method":"m"}', ("", None)), (f"{OWN}7", b"\xff", ("", 7)),
        ("v1/gateway/rpc", b"[1]", ("", None)), ("v1/gateway/rpc", b'{"device":"d"}', ("d", None)),
        ("v1/gateway/rpc", b'{"device":"d","data":{"id":true,"method":"m"}}', ("d", None)),
        ("v1/gateway/rpc", b'{"device":"d","data":{"id":3,"method":5}}', ("d", 3)),
    ],
)  # fmt: skip
def test_what_is_no_call_says_whom_to_answer(
    topic: str, payload: bytes, known: tuple[str, int | None]
) -> None:
    with pytest.raises(CallError) as found:
        parse(topic, payload)
    assert found.value.args[1:] == known


def test_replies_go_where_the_call_came_from() -> None:
    assert reply_to("", 7, {"a": 1}) == ("v1/devices/me/rpc/response/7", b'{"a":1}')
    assert reply_to("d", 7, None) == ("v1/gateway/rpc", b'{"device":"d","id":7,"data":null}')
