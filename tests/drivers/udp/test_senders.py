"""The reference senders, in C and in MicroPython, against the real driver, also over a rough network."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agent.drivers.udp import UdpModules
from agent.model import Quality, Reading

from .lab import KEY, ROOT, SENDERS, line, running
from .rough import rough_network

MICROPYTHON = "@micropython/micropython-webassembly-pyscript"
MICROPYTHON_VERSION = "1.27.0"
CACHE = ROOT / ".venv" / "micropython"


@pytest.fixture
def port(free_port: Callable[..., int]) -> int:
    return free_port(socket.SOCK_DGRAM)


@pytest.fixture(scope="session")
def c_module(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[str]]:
    """Compiles the sender in C with a ring of so many samples; the command that runs it."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("NOT TESTED: the C sender, since gcc is missing (apt-get install gcc)")

    def compiled(ring: int = 64) -> list[str]:
        program = tmp_path_factory.mktemp("c") / "uicps_sender_test"
        flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", f"-DUICPS_RING={ring}"]
        files = [str(SENDERS / "c" / name) for name in ("uicps_sender.c", "uicps_sender_test.c")]
        subprocess.run([compiler, *flags, *files, "-o", str(program)], check=True)
        return [str(program)]

    return compiled


@pytest.fixture(scope="session")
def micropython_module() -> list[str]:
    """The command that runs the MicroPython sender under node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    package = CACHE / "node_modules" / MICROPYTHON / "package.json"
    if node is None or npm is None:
        pytest.skip(
            "NOT TESTED: the MicroPython sender, since node and npm are missing (apt-get install npm)"
        )
    if not package.exists():
        apart = CACHE.with_name(f"micropython-{os.getpid()}")  # another worker may be at it too
        install = [npm, "install", "--prefix", str(apart), f"{MICROPYTHON}@{MICROPYTHON_VERSION}"]
        done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=100)
        if done.returncode:
            pytest.skip(f"NOT TESTED: the MicroPython sender, npm cannot install it: {done.stderr[-200:]}")
        with contextlib.suppress(OSError):
            apart.rename(CACHE)
        shutil.rmtree(apart, ignore_errors=True)
    return [node, str(Path(__file__).parent / "micropython_module.mjs"), str(package.parent), str(SENDERS)]


async def sends(
    command: Sequence[str],
    port: int,
    *,
    samples: int,
    interval_us: int = 1000,
    boot: int = 1,
    repeat: int = 3,
    wants_ack: bool = False,
    linger_s: int = 0,
) -> str:
    """Run a module to its end; what it printed."""
    numbers = (boot, samples, interval_us, repeat, int(wants_ack), linger_s)
    process = await asyncio.create_subprocess_exec(
        *command, "127.0.0.1", str(port), KEY.hex(), *map(str, numbers), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


def delivered(heard: Sequence[Reading]) -> list[int]:
    """The numbers of the samples that were published; each reads (n, n / 4)."""
    good = [reading for reading in heard if reading.quality is Quality.GOOD]
    assert all(reading.values[1] == reading.values[0] / 4 for reading in good)
    numbers = [int(reading.values[0]) for reading in good]
    assert len(numbers) == len(set(numbers)), "published twice"
    return numbers


async def command_is_carried_out(driver: UdpModules, module: asyncio.Task[str]) -> None:
    await driver.write("room", "setpoint", 21.5)
    await driver.write("room", "setpoint", 22.0)
    assert [line for line in (await module).splitlines() if line.startswith("command")] == [
        "command 1 21.5",
        "command 1 22",
    ]


async def test_c_samples_arrive_are_acknowledged_and_commands_carried_out(
    tmp_path: Path, port: int, c_module: Callable[..., list[str]]
) -> None:
    driver = line(tmp_path, port)
    async with running(driver) as heard:
        module = asyncio.create_task(sends(c_module(), port, samples=200, wants_ack=True, linger_s=2))
        await command_is_carried_out(driver, module)
    assert delivered(heard) == list(range(1, 201))
    assert (await module).splitlines()[-1].startswith("pending 0 ")


async def test_micropython_samples_arrive_are_acknowledged_and_commands_carried_out(
    tmp_path: Path, port: int, micropython_module: list[str]
) -> None:
    driver = line(tmp_path, port, command_timeout_s=20)
    async with running(driver) as heard:
        module = asyncio.create_task(
            sends(micropython_module, port, samples=200, interval_us=5000, wants_ack=True, linger_s=2)
        )
        await command_is_carried_out(driver, module)
    assert delivered(heard) == list(range(1, 201))
    assert (await module).splitlines()[-1].startswith("pending 0 ")


async def test_c_redundancy_of_three_delivers_over_999_in_1000_without_a_return_channel(
    tmp_path: Path, port: int, c_module: Callable[..., list[str]]
) -> None:
    samples, driver = 10_000, line(tmp_path, port)
    async with running(driver) as heard, rough_network(port) as (network, near):
        await sends(c_module(), near, samples=samples, interval_us=200)
        await asyncio.sleep(1.2)
        numbers = delivered(heard)
        replayed = network.carried
        for data in replayed:  # recorded on the way, and sent again by somebody else
            network.far.transport.sendto(data, ("127.0.0.1", port))
            await asyncio.sleep(0)
        await asyncio.sleep(0.3)
        assert delivered(heard) == numbers
    assert len(numbers) > 0.999 * samples
    assert 0.03 * samples < driver.counters["lost"] < 0.07 * samples
    assert driver.counters["reordered"] > 0
    assert driver.counters["repeated"] + driver.counters["stale"] > 0.9 * samples


async def test_c_acknowledgements_deliver_every_sample(
    tmp_path: Path, port: int, c_module: Callable[..., list[str]]
) -> None:
    samples = 3000
    async with running(line(tmp_path, port)) as heard, rough_network(port, seed=2) as (_, near):
        printed = await sends(c_module(4096), near, samples=samples, repeat=1, wants_ack=True, linger_s=3)
    assert sorted(delivered(heard)) == list(range(1, samples + 1))
    assert printed.startswith("pending 0 ")


async def test_micropython_acknowledgements_deliver_every_sample(
    tmp_path: Path, port: int, micropython_module: list[str]
) -> None:
    samples = 500
    async with running(line(tmp_path, port)) as heard, rough_network(port, seed=3) as (_, near):
        printed = await sends(
            micropython_module, near, samples=samples, interval_us=4000, repeat=1, wants_ack=True, linger_s=3
        )
    assert sorted(delivered(heard)) == list(range(1, samples + 1))
    assert printed.startswith("pending 0 ")


async def test_samples_of_an_outage_are_sent_when_the_gateway_is_back(
    tmp_path: Path, port: int, c_module: Callable[..., list[str]]
) -> None:
    """The gateway is away and comes back, twice: the ring holds what it missed."""
    samples, heard_ever = 700, list[Reading]()
    module = asyncio.create_task(
        sends(c_module(1024), port, samples=samples, interval_us=5000, wants_ack=True, linger_s=4)
    )
    for _ in range(3):
        async with running(line(tmp_path, port)) as heard:
            await asyncio.sleep(0.7)
        heard_ever += heard
        await asyncio.sleep(0.4)
    async with running(line(tmp_path, port)) as heard:
        printed = await module
    heard_ever += heard
    assert sorted(delivered(heard_ever)) == list(range(1, samples + 1))
    assert printed.startswith("pending 0 ")
