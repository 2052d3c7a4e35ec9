"""The line on a real socket: readings, refusals in the log, keys that change, and kill -9."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.model import Quality
from tests.conftest import until

from .lab import KEY, ROOT, connected, datagram, first_values, line, received, running, sender, write_keys

OTHER = bytes(range(1, 33))


@pytest.fixture
def port(free_port: Callable[..., int]) -> int:
    return free_port(socket.SOCK_DGRAM)


async def test_a_signed_sample_is_published_and_acknowledged(tmp_path: Path, port: int) -> None:
    driver, module = line(tmp_path, port), sender()
    async with running(driver) as heard:
        with connected(port) as wire:
            wire.send(datagram(module, (21.5, 20.0)))
            module.receive(await received(wire), 0)
    assert first_values(heard) == [21.5]
    assert heard[0].group is driver.groups[0]
    assert module.pending == 0
    assert driver.counters["datagrams"] == 1


async def test_nothing_is_sent_to_who_cannot_sign(tmp_path: Path, port: int) -> None:
    async with running(line(tmp_path, port)) as heard:
        with connected(port) as wire:
            wire.settimeout(0.3)
            for data in (
                datagram(sender(key=OTHER)),
                b'{"id": "mod-1", "seq": 1, "ack": true, "values": {}}',
                b"x",
            ):
                wire.send(data)
            with pytest.raises(TimeoutError):
                await received(wire)
    assert heard == []


async def test_a_flood_of_nonsense_is_said_once_a_kind_and_harms_nobody(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    driver, noise = line(tmp_path, port), random.Random(5)
    good = datagram(sender())
    async with running(driver) as heard:
        with connected(port) as wire:
            for _ in range(100):
                wire.send(noise.randbytes(60))
                wire.send(good[:8] + noise.randbytes(60))
            wire.send(good)
            await until(lambda: heard)
    assert len(heard) == 1
    assert driver.counters["malformed"] == driver.counters["forged"] == 100
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "its signature is not of the key of 'mod-1'" in " ".join(warnings)


async def test_a_silent_module_is_published_as_bad_and_ends_its_silence(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(line(tmp_path, port, silence_s=1)) as heard:
        await until(lambda: heard, 5)
        with connected(port) as wire:
            wire.send(datagram(sender()))
            await until(lambda: len(heard) > 1 and "well again" in caplog.text, 5)
    assert heard[0].quality is Quality.BAD
    assert any(reading.quality is Quality.GOOD for reading in heard)


async def test_a_taken_port_is_an_os_error(tmp_path: Path, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        with pytest.raises(OSError, match="in use"):
            await line(tmp_path, port).run(lambda _: None)


async def test_a_bug_in_what_listens_ends_the_line(tmp_path: Path, port: int) -> None:
    def fails(_: object) -> None:
        raise ZeroDivisionError

    running_line = asyncio.create_task(line(tmp_path, port).run(fails))
    await asyncio.sleep(0.05)
    with connected(port) as wire:
        wire.send(datagram(sender()))
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(running_line, 5)


async def test_keys_are_changed_while_it_runs(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    driver, old, new = line(tmp_path, port), sender(1), sender(2, OTHER)
    async with running(driver) as heard:
        with connected(port) as wire:
            wire.send(datagram(old, (1, 0)))
            await until(lambda: len(heard) == 1)
            write_keys(tmp_path, KEY, OTHER)
            await asyncio.sleep(1.5)
            wire.send(datagram(new, (2, 0)))
            await until(lambda: len(heard) == 2)
            wire.send(datagram(old, (3, 0)))
            await until(lambda: len(heard) == 3)
            (tmp_path / "modules.keys").write_text("nonsense")
            await until(lambda: "the keys read before stay in use" in caplog.text, 5)
            wire.send(datagram(new, (4, 0)))
            await until(lambda: len(heard) == 4)
            write_keys(tmp_path, OTHER)
            await asyncio.sleep(1.5)
            wire.send(datagram(old))
            await until(lambda: driver.counters["unknown_key"] == 1)
    assert first_values(heard) == [1, 2, 3, 4]


async def test_a_clean_restart_refuses_what_was_recorded_and_nothing_else(tmp_path: Path, port: int) -> None:
    module, recorded = sender(repeat=1), []
    for life in range(3):
        driver = line(tmp_path, port)
        async with running(driver) as heard:
            with connected(port) as wire:
                for data in recorded:
                    wire.send(data)
                fresh = [datagram(module, (life, at)) for at in range(10)]
                for data in fresh:
                    wire.send(data)
                await until(lambda heard=heard: len(heard) >= 10)
                await asyncio.sleep(0.05)
        assert first_values(heard) == [life] * 10
        assert driver.counters["repeated"] == len(recorded)
        recorded += fresh


async def test_a_line_that_is_entered_again_knows_what_it_knew(tmp_path: Path, port: int) -> None:
    driver, module = line(tmp_path, port), sender(repeat=1)
    recorded = [datagram(module) for _ in range(5)]
    for expected in (5, 0):
        async with running(driver) as heard:
            with connected(port) as wire:
                for data in recorded:
                    wire.send(data)
                await asyncio.sleep(0.2)
        assert len(heard) == expected


async def test_a_ledger_that_cannot_be_written_is_said_and_readings_go_on(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(line(tmp_path, port)) as heard:
        (tmp_path / "lines").write_text("a file where the folder should be")
        with connected(port) as wire:
            wire.send(datagram(sender()))
            await until(lambda: heard)
    assert "could be replayed once" in caplog.text


async def test_a_ledger_that_cannot_be_read_keeps_the_line_down(tmp_path: Path, port: int) -> None:
    (tmp_path / "lines").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="lines"):
        await line(tmp_path, port).run(lambda _: None)


AGENT = """
import asyncio, sys
from pathlib import Path
from tests.drivers.udp.lab import line

def say(readings):
    for reading in readings:
        print(int(reading.values[0]), flush=True)

asyncio.run(line(Path(sys.argv[1]), int(sys.argv[2])).run(say))
"""


async def test_kill_minus_9_opens_no_replay_hole(tmp_path: Path, port: int) -> None:
    """A real process killed in the middle of a stream: what it published is never published again."""
    module, recorded, published = sender(repeat=1, wants_ack=False), [], set[int]()

    async def life(number_of_samples: int) -> list[int]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", AGENT, str(tmp_path), str(port)), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout
        try:
            await until(lambda: _is_bound(port))
            with connected(port) as wire:
                for data in recorded:
                    wire.send(data)
                    await asyncio.sleep(0.0005)
                for _ in range(number_of_samples):
                    recorded.append(datagram(module, (len(recorded), 0)))
                    wire.send(recorded[-1])
                    await asyncio.sleep(0.002)
        finally:
            os.kill(process.pid, signal.SIGKILL)
        said, _ = await process.communicate()
        return [int(text) for text in said.split()]

    for samples in (900, 37, 600, 0):
        said = await life(samples)
        assert len(said) == len(set(said))
        assert not published & set(said)
        published |= set(said)
    assert len(published) > 500


def _is_bound(port: int) -> bool:
    return f":{port:04X} " in Path("/proc/net/udp").read_text(encoding="ascii")
