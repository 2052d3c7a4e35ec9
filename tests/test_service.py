"""The process as a whole: starting, stopping and refusing to start, with words instead of tracebacks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from agent.status_file import read_status
from tests.conftest import until

CONFIG = """
[agent]
site = "lab"
trust_clock = "always"
data_dir = "data"
[server]
port = {port}
"""

# A line of a traceback in our code, beyond the first statement of all: there an interrupt is taken in hand.
OURS = re.compile(r'File "[^"]*/agent/(?!__init__\.py|__main__\.py")')


_left: list[asyncio.subprocess.Process] = []


@pytest.fixture(autouse=True)
async def _none_is_left() -> AsyncIterator[None]:
    """No agent outlives its test, however that ends."""
    yield
    for process in _left:
        if process.returncode is None:
            process.kill()
    await asyncio.gather(*(process.wait() for process in _left))
    _left.clear()


async def agent(
    folder: Path, *arguments: str, umask: int = 0o077, **environment: str
) -> asyncio.subprocess.Process:
    command = f'umask {umask:04o}; exec "$0" -m agent "$@"'
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", command, sys.executable, *arguments),
        cwd=folder,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    _left.append(process)
    return process


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, errors.decode()


@pytest.fixture
def folder(tmp_path: Path, free_port: Callable[[], int]) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG.format(port=free_port()))
    return tmp_path


async def started(folder: Path, umask: int = 0o077) -> asyncio.subprocess.Process:
    process = await agent(folder, "run", "config.toml", umask=umask)
    assert process.stderr
    async with asyncio.timeout(60):
        line = await process.stderr.readline()
    assert b"site lab" in line, line
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_well(folder: Path, number: int) -> None:
    process = await started(folder)
    process.send_signal(number)
    code, errors = await ended(process)
    assert code == 0
    assert "Traceback" not in errors


@pytest.mark.parametrize("wait_s", [0.0, 0.05, 0.1, 0.2, 0.3, 0.4])
async def test_an_interrupt_at_any_moment_of_the_start_has_no_traceback(folder: Path, wait_s: float) -> None:
    process = await agent(folder, "run", "config.toml")
    await asyncio.sleep(wait_s)
    process.send_signal(signal.SIGINT)
    code, errors = await ended(process)
    if "Traceback" in errors and not OURS.search(errors):
        return  # Python itself was not up yet, and ends as it likes
    assert code in (0, 130, -signal.SIGINT)
    assert "Traceback" not in errors, errors


def readable_to_others(folder: Path) -> list[str]:
    return [str(file) for file in folder.rglob("*") if file.lstat().st_mode & 0o077]


async def test_whatever_the_umask_the_data_is_the_agents_alone(folder: Path) -> None:
    """Readings tell when nobody is in. What an agent that followed the umask left behind is mended."""
    process = await started(folder, umask=0)
    code, errors = await ended(await agent(folder, "backup", "config.toml", "backup.db", umask=0))
    assert (code, (folder / "backup.db").stat().st_mode & 0o777) == (0, 0o600), errors
    process.terminate()
    await ended(process)
    assert (folder / "data" / "readings.db").exists()
    assert readable_to_others(folder / "data") == []
    (folder / "data" / "readings.db").chmod(0o644)
    process = await started(folder, umask=0)
    assert readable_to_others(folder / "data") == []
    process.terminate()
    await ended(process)


async def test_two_agents_do_not_share_a_folder(folder: Path) -> None:
    first = await started(folder)
    code, errors = await ended(await agent(folder, "run", "config.toml"))
    assert code == 1
    assert "another agent works here" in errors
    assert "Traceback" not in errors
    first.terminate()
    assert (await ended(first))[0] == 0


async def test_a_broken_file_is_moved_aside_and_said_with_a_way_out(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "readings.db").write_bytes(b"no database" * 1000)
    process = await agent(folder, "run", "config.toml")
    assert process.stderr
    async with asyncio.timeout(60):
        said = await process.stderr.readline()
        assert b"site lab" in await process.stderr.readline()
    process.terminate()
    code, errors = await ended(process)
    assert b"moved aside as readings.broken-" in said
    assert b"store salvage" in said
    assert code == 0
    assert "Traceback" not in errors


async def test_a_faulty_configuration_starts_nothing(folder: Path) -> None:
    config = folder / "config.toml"
    config.write_text(config.read_text().replace("port", "prt"))
    for command in ("check", "run"):
        code, errors = await ended(await agent(folder, command, "config.toml"))
        assert code == 2
        assert "config.toml: server.prt: unknown key, did you mean 'port'?" in errors
    assert not (folder / "data").exists()


async def test_a_taken_port_costs_the_page_only_and_is_had_when_it_is_free(folder: Path) -> None:
    first = await started(folder)
    config = folder / "config.toml"
    config.write_text(config.read_text().replace('"data"', '"other"'))
    second = await agent(folder, "run", "config.toml")
    assert second.stderr
    async with asyncio.timeout(60):
        said = await second.stderr.readline()
        assert b"server: cannot listen at" in said
        assert b"choose another [server] host or port" in said
        assert b"no page yet" in await second.stderr.readline()
        first.terminate()
        await ended(first)
        while b"server: well again" not in await second.stderr.readline():
            pass
    second.terminate()
    code, errors = await ended(second)
    assert code == 0
    assert "Traceback" not in errors


async def test_a_password_is_not_asked_of_nobody(folder: Path) -> None:
    code, errors = await ended(await agent(folder, "user", "add", "config.toml", "ana"))
    assert code == 130
    assert "Traceback" not in errors


async def test_idle_connections_do_not_end_it(folder: Path, free_port: Callable[[], int]) -> None:
    config = folder / "config.toml"
    config.write_text(config.read_text() + "connections_max = 16\n")
    port = int(config.read_text().split("port = ")[1].split()[0])
    process = await started(folder)
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
    for _, writer in idle:
        writer.write(b"GET / HTTP/1.1\r\n")
    await asyncio.sleep(0.3)
    for _, writer in idle:
        writer.close()

    async def healthy() -> bool:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/healthz") as reply:
            return reply.status == 200

    await asyncio.sleep(0.3)
    assert await healthy()
    process.terminate()
    assert (await ended(process))[0] == 0


async def test_systemd_hears_of_start_life_and_end(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as systemd:
        systemd.bind(str(folder / "notify"))
        run = folder / "run"
        run.mkdir()
        heard: list[str] = []

        def hears(word: str) -> bool:
            with contextlib.suppress(BlockingIOError):
                while True:
                    heard.append(systemd.recv(4096).decode())
            return any(line.startswith(word) for text in heard for line in text.splitlines())

        environment = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "900000"}
        process = await agent(folder, "run", "config.toml", **environment, RUNTIME_DIRECTORY=str(run))
        await until(lambda: hears("READY=1") and hears("WATCHDOG=1"), 20)
        await until(lambda: hears("STATUS=0/0 lines well, 0/0 uplinks connected"))
        await until(lambda: read_status(run) is not None)
        process.terminate()
        assert (await ended(process))[0] == 0
        assert hears("STOPPING=1")
