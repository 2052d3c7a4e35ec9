"""`watch`: of lines opened by itself, and of a running agent."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from agent.commands.watch import HEADS, age, draw, value_text
from agent.demo.modbus_bus import SimulatedBus
from agent.model import NAN, Point

from .running import command, ended, meter, started, terminal
from .sites import agent_on, configure

VALUE = r"(?m)^main.voltage_l1 +127 +V +good +-?\d\.\d s"


async def test_once_with_raw_words(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with SimulatedBus(meter(1)) as bus:
        file = configure(tmp_path, free_port(), bus.port, main=1)
        watched = await command("watch", str(file), "--once")
        assert watched.code == 0
        assert re.search(VALUE + " +42fe 0000$", watched.out)
        assert not (tmp_path / "data").exists()


async def test_a_dead_device_is_a_failure(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with SimulatedBus(meter(1)) as bus:
        file = configure(tmp_path, free_port(), bus.port, main=1, dead=9)
        watched = await command("watch", str(file), "dead", "--once")
    assert watched.code == 1
    assert re.search(r"(?m)^dead.voltage_l1 +- +V +bad", watched.out)
    assert "main" not in watched.out
    assert "device dead" in watched.errors


async def test_a_running_agent(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with SimulatedBus(meter(1)) as bus:
        file = configure(tmp_path, free_port(), bus.port, main=1)
        async with agent_on(file) as asked:
            watched = await command("watch", *asked, "--once", "main", "agent")
            assert watched.code == 0
            assert re.search(VALUE, watched.out)
            assert re.search(r"(?m)^agent.line_bus_1_stretch +1 ", watched.out)
            alone = await command("watch", str(file))
            assert alone.code == 1
            assert "is running and has these lines: ask it, with --url http://127.0.0.1:" in alone.errors
            unknown = await command("watch", *asked, "mian")
            assert "no device is named 'mian'; known: agent, analysis, job, main" in unknown.errors
            (tmp_path / "password").write_text("wrong")
            refused = await command("watch", *asked)
            assert refused.code == 1
            assert "401 the name or the password is wrong" in refused.errors


async def test_what_is_not_an_agent_is_said(tmp_path: Path) -> None:
    async def anything(request: web.Request) -> web.Response:
        return web.json_response(["hello"])

    app = web.Application()
    app.router.add_post("/token", anything)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (tmp_path / "password").write_text("x")
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    refused = await command(
        "watch", "--url", url, "--user", "a", "--password-file", str(tmp_path / "password")
    )
    await runner.cleanup()
    assert refused.code == 1
    assert "expected an agent, found something that does not answer like one" in refused.errors


async def test_the_agent_that_stops_is_said(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with SimulatedBus(meter(1)) as bus:
        file = configure(tmp_path, free_port(), bus.port, main=1)
        async with agent_on(file) as asked:
            process = await started("watch", *asked)
            assert process.stdout
            assert await asyncio.wait_for(process.stdout.readline(), 20)
        watched = await ended(process)
    assert watched.code == 1
    assert "the agent closed the connection" in watched.errors


async def test_a_line_a_value_until_interrupted(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with SimulatedBus(meter(1)) as bus:
        process = await started("watch", str(configure(tmp_path, free_port(), bus.port, main=1)))
        assert process.stdout
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        process.send_signal(signal.SIGINT)
        watched = await ended(process)
    assert watched.code == 130
    assert re.fullmatch(r"\S+T\S+Z main.voltage_l1 127 V good 42fe 0000\n", line.decode())


async def test_a_reader_that_leaves_ends_it(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with SimulatedBus(meter(1)) as bus:
        process = await started("watch", str(configure(tmp_path, free_port(), bus.port, main=1)))
        assert process.stdout
        await asyncio.wait_for(process.stdout.readline(), 60)
        process.stdout._transport.close()  # type: ignore[attr-defined]  # as `| head -1` does
        code = await asyncio.wait_for(process.wait(), 60)
        assert process.stderr
        errors = (await process.stderr.read()).decode()
    # On a busy machine the bus may be late, which is said; of the pipe nothing is.
    assert code == 0
    assert all(re.match("(device|line) ", line) for line in errors.splitlines()), errors


async def test_in_place_on_a_terminal(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with SimulatedBus(meter(1)) as bus:
        file = configure(tmp_path, free_port(), bus.port, main=1)
        with terminal() as (ours, theirs):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agent", "watch", str(file)), stdout=theirs, stderr=theirs
            )
            drawn = ""
            async with asyncio.timeout(20):
                while "main.voltage_l2" not in drawn or "127 " not in drawn:
                    drawn += (await asyncio.to_thread(os.read, ours, 65536)).decode()
            process.send_signal(signal.SIGINT)
            code = await asyncio.wait_for(process.wait(), 20)
            drawn += os.read(ours, 65536).decode()
    assert code == 130
    assert "\x1b[?1049h\x1b[HPOINT" in drawn
    assert drawn.index("\x1b[?1049l") < drawn.rindex("main.voltage_l1")


async def test_udp_modules_are_not_taken_from_the_agent(tmp_path: Path, free_port: Callable[[], int]) -> None:
    file = configure(tmp_path, free_port(), "/dev/none", main=1)
    text = file.read_text() + '[[line]]\nname = "wifi"\ndriver = "udp"\nport = 47001\n'
    file.write_text(text + '[[line.device]]\nname = "room"\nprofile = "ambient"\nunsigned = true\n')
    refused = await command("watch", str(file), "room")
    assert refused.code == 1
    assert "room: what others send can only be watched through the running agent, use --url" in refused.errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected a configuration file, or --url of a running agent"),
        (("--url", "10.0.0.5", "--user", "a"), "expected http://HOST:PORT or https://HOST:PORT"),
        (("--url", "http://10.0.0.5"), "--user: expected your name at the agent beside --url"),
        (
            ("config.toml", "--url", "http://10.0.0.5", "--user", "a"),
            "expected config.toml or --url, found both",
        ),
    ],
)
async def test_what_makes_no_sense_is_said(arguments: tuple[str, ...], words: str) -> None:
    refused = await command("watch", *arguments)
    assert refused.code == 1
    assert words in refused.errors


def test_values_for_people() -> None:
    mode = Point("mode", states={1: "heat"})
    assert value_text(mode, 1.0) == "1 heat"
    assert value_text(mode, 2.0) == "2"
    assert value_text(mode, NAN) == "-"
    assert value_text(Point("p"), 230.2) == "230.2"
    assert (age(1500), age(-40), age(180_000)) == ("1.5 s", "-0.0 s", "3 min")


def test_a_screen_holds_what_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"m.p{at}", "1", "V", "good", "0.1 s", "") for at in range(50)]
    draw(rows, ["line b: gone"], sys.stdout, (30, 12))
    lines = capsys.readouterr().out.split("\r\n")
    assert len(lines) == 11
    assert lines[0].startswith("\x1b[H" + HEADS[0])
    assert lines[8].startswith("... and 43 more: name the de")
    assert lines[-1].startswith("line b: gone")


async def test_the_wrong_scheme_is_said(tmp_path: Path) -> None:
    """An agent without TLS asked by https, and one with TLS by http (it hangs up on what is no handshake)."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_handshake = await reader.read(1) == b"\x16"
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" if is_handshake else b"")
        writer.close()

    (tmp_path / "password").write_text("x")
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        for scheme, other in (("https", "http"), ("http", "https")):
            asked = (
                "--url",
                f"{scheme}://{place}",
                "--user",
                "a",
                "--password-file",
                str(tmp_path / "password"),
            )
            watch = await command("watch", *asked, "--once")
            assert watch.code == 1
            assert f"use {other}://{place}" in watch.errors
