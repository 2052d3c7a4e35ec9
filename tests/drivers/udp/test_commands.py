"""Commands to a module: carried out once, confirmed, or failed with a reason within the time."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from agent.drivers.command import WriteFailed
from agent.drivers.udp import UdpModules, text
from agent.drivers.udp.commands import QUEUED_MAX
from agent.drivers.udp.keys import Key
from tests.conftest import until

from .lab import KEY, connected, datagram, line, received, running, sender


@pytest.fixture
def port(free_port: Callable[..., int]) -> int:
    return free_port(socket.SOCK_DGRAM)


class Module:
    """A module that listens, and may lose every so many datagrams of both ways."""

    def __init__(self, port: int, *, loss: float = 0.0, boot: int = 1) -> None:
        self.done: list[tuple[int, float]] = []
        self.wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.wire.connect(("127.0.0.1", port))
        self.wire.setblocking(False)
        self.sender = sender(boot, command=self._carry_out)
        self.commands: list[bytes] = []
        self._loss, self._random = loss, random.Random(1)

    def _carry_out(self, point: int, value: float) -> tuple[int, float]:
        if not 16 <= value <= 30:
            return 2, 0.0
        self.done.append((point, value))
        return 0, value

    def _lost(self) -> bool:
        return self._random.random() < self._loss

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data = await loop.sock_recv(self.wire, 2000)
            if data[3] == 3:
                self.commands.append(data)
            if not self._lost() and (answer := self.sender.receive(data, 0)) and not self._lost():
                self.wire.send(answer)


@asynccontextmanager
async def listening(port: int, **more: Any) -> AsyncIterator[Module]:
    module = Module(port, **more)
    task = asyncio.create_task(module.run())
    module.wire.send(datagram(module.sender))
    try:
        yield module
    finally:
        task.cancel()
        await asyncio.wait([task])
        module.wire.close()


async def test_a_command_is_carried_out_and_confirmed(tmp_path: Path, port: int) -> None:
    driver = line(tmp_path, port)
    async with running(driver), listening(port) as module:
        await driver.write("room", "setpoint", 21.5)
        await driver.write("room", "setpoint", 22.0)
    assert module.done == [(1, 21.5), (1, 22.0)]


@pytest.mark.parametrize("loss", [0.3, 0.6])
async def test_it_is_sent_again_until_it_is_answered_and_done_once(
    tmp_path: Path, port: int, loss: float
) -> None:
    driver = line(tmp_path, port, command_timeout_s=20)
    async with running(driver), listening(port, loss=loss) as module:
        await driver.write("room", "setpoint", 21.5)
        assert module.done == [(1, 21.5)]
        assert len({bytes(command) for command in module.commands}) == 1


async def test_a_recorded_command_does_nothing(tmp_path: Path, port: int) -> None:
    driver = line(tmp_path, port)
    async with running(driver), listening(port) as module:
        await driver.write("room", "setpoint", 21.5)
        await driver.write("room", "setpoint", 23.0)
    for command in module.commands:
        module.sender.receive(command, 0)
    assert module.done == [(1, 21.5), (1, 23.0)]
    restarted = Module(port, boot=2)
    statuses = {
        struct.unpack("<QBd", restarted.sender.receive(each, 0)[16:-16])[1] for each in module.commands
    }
    restarted.wire.close()
    assert statuses == {4}
    assert restarted.done == []


async def test_ids_grow_over_restarts_of_the_gateway(tmp_path: Path, port: int) -> None:
    module = Module(port)
    module.wire.close()
    for value in (20.0, 21.0, 22.0):
        driver = line(tmp_path, port, now_s=lambda: 1000.0)  # a clock that stands still
        async with running(driver):
            serving = asyncio.create_task(_serve(module, port))
            await driver.write("room", "setpoint", value)
            serving.cancel()
            await asyncio.wait([serving])
    assert [value for _, value in module.done] == [20.0, 21.0, 22.0]


async def _serve(module: Module, port: int) -> None:
    """The same module, on a new socket."""
    module.wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    module.wire.connect(("127.0.0.1", port))
    module.wire.setblocking(False)
    try:
        module.wire.send(datagram(module.sender))
        await module.run()
    finally:
        module.wire.close()


async def failure(driver: UdpModules, point: str = "setpoint", value: float = 21.0) -> WriteFailed:
    with pytest.raises(WriteFailed) as caught:
        await driver.write("room", point, value)
    return caught.value


async def test_why_a_write_fails(tmp_path: Path, port: int) -> None:
    driver = line(tmp_path, port, command_timeout_s=0.5)
    assert "not listening" in str(await failure(driver))
    async with running(driver):
        began_s = time.monotonic()
        silent = await failure(driver)
        assert "nothing was sent: the module was not heard" in str(silent)
        assert not silent.unknown
        assert "not a writable point" in str(await failure(driver, "room_temperature"))
        assert "not a writable point" in str(await failure(driver, "nothing"))
        for value in (100.0, math.nan, math.inf):
            with pytest.raises(ValueError, match=r"expected (at most 99|a number)"):
                await driver.write("room", "setpoint", value)
        async with listening(port) as module:
            assert "refuses this value" in str(await failure(driver, value=99.0))
            assert module.done == []
        unanswered = await failure(driver)
        assert unanswered.unknown
        assert "no answer came for 0.5 s" in str(unanswered)
        assert time.monotonic() - began_s < 3


async def test_an_unsigned_module_takes_no_commands(tmp_path: Path, port: int) -> None:
    driver = line(tmp_path, port, unsigned=True)
    async with running(driver):
        assert "has no key" in str(await failure(driver))


async def test_a_module_that_restarts_meanwhile_is_said(tmp_path: Path, port: int) -> None:
    driver = line(tmp_path, port, command_timeout_s=5)
    async with running(driver):
        with connected(port) as wire:
            wire.send(datagram(sender(1)))
            writing = asyncio.create_task(failure(driver))
            await asyncio.sleep(0.3)
            wire.send(datagram(sender(2)))
            failed = await writing
    assert "restarted while it was under way" in str(failed)
    assert failed.unknown


async def test_a_module_that_sleeps_is_told_when_it_wakes(tmp_path: Path, port: int) -> None:
    driver = line(tmp_path, port, command_timeout_s=10)
    module = sender(1, command=lambda _, value: (0, value), wants_ack=False)
    async with running(driver):
        with connected(port) as wire:
            writing = asyncio.create_task(driver.write("room", "setpoint", 20.0))
            await asyncio.sleep(0.3)
            wire.send(datagram(module))
            answer = module.receive(await received(wire), 0)
            wire.send(answer)
            await asyncio.wait_for(writing, 2)


async def test_forged_and_unasked_results_confirm_nothing(tmp_path: Path, port: int) -> None:
    driver = line(tmp_path, port, command_timeout_s=1)
    module = sender(1, command=lambda _, value: (0, value), wants_ack=False)
    async with running(driver):
        with connected(port) as wire:
            wire.send(datagram(module))
            writing = asyncio.create_task(failure(driver))
            answer = module.receive(await received(wire), 0)
            wire.send(answer[:-1] + bytes((answer[-1] ^ 1,)))
            other = module._signer.signed(answer[:16] + struct.pack("<QBd", 1, 0, 0.0))
            wire.send(other)
            assert "no answer came" in str(await writing)
            wire.send(answer)  # too late
            await until(lambda: driver.counters["unexpected_result"] == 2)
    assert driver.counters["forged"] == 1


async def test_what_waits_is_bounded(tmp_path: Path, port: int) -> None:
    driver = line(tmp_path, port, command_timeout_s=0.5)
    async with running(driver):
        failures = await asyncio.gather(*(failure(driver) for _ in range(QUEUED_MAX + 3)))
    assert sum("are waiting already" in str(each) for each in failures) == 3


async def test_a_json_module_is_commanded_in_json(tmp_path: Path, port: int) -> None:
    driver, key = line(tmp_path, port), Key(KEY)
    async with running(driver):
        with connected(port) as wire:
            wire.send(text.sign({"id": "mod-1", "boot": 3, "seq": 1, "values": {}}, key))
            writing = asyncio.create_task(driver.write("room", "setpoint", 20.5))
            command = await received(wire)
            assert command[-32:].decode() == key.tag(command[:-32]).hex()
            body = orjson.loads(command[: -text.TRAILER_BYTES])
            assert body["boot"] == 3
            assert {name: body["command"][name] for name in ("point", "value")} == {
                "point": "setpoint",
                "value": 20.5,
            }
            result = {"id": body["command"]["id"], "status": 0, "value": 20.5}
            wire.send(text.sign({"id": "mod-1", "boot": 3, "result": result}, key))
            await asyncio.wait_for(writing, 2)
