"""`job` and `plugin` as their user has them, beside a running agent, typed wrong now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config import load
from agent.model import Reading
from agent.schedule import Runs
from agent.schema import FaultyFile
from agent.service import Service
from agent.store import Store
from tests.commands.running import command
from tests.commands.sites import HEAD
from tests.conftest import until
from tests.plugins.lab import METER

PLUGIN = """
from agent.plugins import plugin
@plugin(publishes={"twice": "W"})
def load(history, publish, point: str = "meter.active_power"):
    found = history(point, hours=1)
    publish(twice=2 * float(found.values[-1]))
    return f"{len(found.values)} values"
"""
ROGUE = "from agent.plugins import plugin\n@plugin()\ndef rogue():\n    while True: pass\n"
TABLES = """
[[plugin]]
name = "load-twice"
file = "load.py"
[[plugin]]
name = "rogue"
file = "rogue.py"
time_s_max = 1.0
[[job]]
name = "prices"
command = ["tariff", "list", "--config", "config.toml"]
[[job]]
name = "wrong"
command = ["tariff", "show", "nobody"]
"""


def configure(folder: Path, port: int, tables: str = TABLES) -> Path:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "load.py").write_text(PLUGIN)
    (folder / "plugins" / "rogue.py").write_text(ROGUE)
    file = folder / "config.toml"
    file.write_text(HEAD.format(port=port).replace("[server]", 'plugin_dir = "plugins"\n[server]') + tables)
    return file


async def fill(file: Path, last_ms: int) -> None:
    """An hour of readings, one a minute."""
    async with Store(load(file).data_dir / "readings.db") as store:
        store.append([Reading(METER, last_ms - at * 60_000, (100.0, 127.0)) for at in range(60)])


async def test_jobs_and_plugins_beside_a_running_agent(tmp_path: Path, free_port: Callable[[], int]) -> None:
    file = configure(tmp_path, free_port())
    await fill(file, 1_760_000_000_000)
    service, ready = Service(load(file)), asyncio.Event()

    async def up() -> None:
        ready.set()

    running = asyncio.create_task(service.run(up))
    try:
        await until(ready.is_set)
        ended = await command("job", "run", "config.toml", "prices", folder=tmp_path)
        assert (ended.code, "prices: well" in ended.out, "exemplo-verde" in ended.out) == (0, True, True)
        ended = await command("job", "run", "config.toml", "wrong", folder=tmp_path)
        assert (ended.code, "wrong: failed" in ended.out, "nobody" in ended.out) == (1, True, True)
        ended = await command("job", "run", "config.toml", "rogue", folder=tmp_path)
        assert (ended.code, "rogue: timed out" in ended.out) == (1, True)
        ended = await command("job", "run", "config.toml", "load-twice", folder=tmp_path)
        assert (ended.code, "there is no such point" in ended.out) == (1, True)  # no line has that meter
        ended = await command("job", "pause", "config.toml", "prices", folder=tmp_path)
        assert "prices: paused in a moment" in ended.out
        ended = await command("job", "history", "config.toml", folder=tmp_path)
        assert [line.split()[0] for line in ended.out.splitlines()[1:]] == [
            "load-twice",
            "rogue",
            "wrong",
            "prices",
        ]
        async with Runs(tmp_path / "data" / "jobs.db") as runs:
            async with asyncio.timeout(10):
                while not ((found := (await runs.standings()).get("prices")) and found.paused):
                    await asyncio.sleep(0.1)
        ended = await command("job", "list", "config.toml", folder=tmp_path)
        assert "paused" in ended.out
        assert not running.done()
    finally:
        service.stop()
        await running


async def test_a_back_test_from_the_command_line(tmp_path: Path, free_port: Callable[[], int]) -> None:
    file = configure(tmp_path, free_port())
    await fill(file, 1_760_000_000_000)  # 2025-10-09 05:53:20 in São Paulo
    given = ("plugins/load.py", "config.toml", "--from", "2025-10-09T05:10", "--to", "2025-10-09T05:50")
    ended = await command("plugin", "run", *given, "--every", "600", folder=tmp_path)
    assert ended.code == 0, ended
    assert "2025-10-09 05:20:00  publish twice 200" in ended.out
    assert "4 of 4 runs, 0 failed; 4 x publish" in ended.out
    ended = await command("plugin", "run", *given[:3], "yesterday", folder=tmp_path)
    assert (ended.code, "--from: expected a time like" in ended.errors) == (2, True)
    ended = await command("plugin", "run", *given, "--every", "0", folder=tmp_path)
    assert (ended.code, "at least 1 s" in ended.errors) == (1, True)
    ended = await command("plugin", "run", *given[:4], "--to", "2025-10-08", folder=tmp_path)
    assert (ended.code, "never due" in ended.errors) == (1, True)


async def test_new_and_check(tmp_path: Path) -> None:
    ended = await command("plugin", "new", "night_load", folder=tmp_path)
    assert (ended.code, (tmp_path / "night_load.py").exists()) == (0, True)
    ended = await command("plugin", "check", "night_load.py", folder=tmp_path)
    assert ended.code == 0, ended
    assert "night_load: The mean power of the last hours" in ended.out
    assert "publishes: mean [W]" in ended.out
    again = await command("plugin", "new", "night_load", folder=tmp_path)
    assert (again.code, "is there already" in again.errors) == (1, True)
    wrong = await command("plugin", "new", "../evil", folder=tmp_path)
    assert (wrong.code, "small letters" in wrong.errors) == (1, True)
    (tmp_path / "night_load.py").write_text("import nothing_of_the_kind\n" + PLUGIN)
    ended = await command("plugin", "check", "night_load.py", folder=tmp_path)
    assert (ended.code, "No module named" in ended.out) == (1, True)
    (tmp_path / "night_load.py").write_text("while True: pass\n@plugin\ndef f(: pass")
    ended = await command("plugin", "check", "night_load.py", folder=tmp_path)
    assert (ended.code, "line 3: expected Python" in ended.errors) == (2, True)


async def test_without_an_agent_at_work_it_is_said(tmp_path: Path, free_port: Callable[[], int]) -> None:
    configure(tmp_path, free_port())
    assert (await command("job", "list", "config.toml", folder=tmp_path)).code == 0
    ended = await command("job", "run", "config.toml", "prices", folder=tmp_path)
    assert (ended.code, "no agent is at work here" in ended.errors) == (1, True)
    ended = await command("job", "pause", "config.toml", "pries", folder=tmp_path)
    assert (ended.code, "no such job; known: analysis, analysis-learn, prices" in ended.errors) == (1, True)
    ended = await command("job", "pause", "config.toml", "prices", folder=tmp_path)
    assert (ended.code, "the agent makes it when it starts" in ended.errors) == (1, True)
    assert not (tmp_path / "data").exists()
    async with Runs(tmp_path / "data" / "jobs.db"):
        """As an agent that has stopped left it."""
    ended = await command("job", "pause", "config.toml", "prices", folder=tmp_path)
    assert "paused when the agent starts" in ended.out
    assert (await command("job", "list", "config.toml", folder=tmp_path)).code == 0


@pytest.mark.parametrize(
    ("tables", "text"),
    [
        ('[[job]]\nname = "a"\ncommand = ["restore", "x"]', "job[0].command: expected one of backup"),
        ('[[job]]\nname = "a"\ncommand = []', "job[0].command: expected at least 1 items"),
        (
            '[[job]]\nname = "a"\ncommand = ["backup"]\ncron = "0 2 * * 1"',
            "job[0].cron: expected weekdays by name",
        ),
        (
            '[[job]]\nname = "a"\ncommand = ["backup"]\ncron = "0 0 30 2 *"',
            "job[0].cron: expected a day that comes",
        ),
        (
            '[[job]]\nname = "a"\ncommand = ["backup"]\ncron = "0 2 * * *"\nevery_s = 60',
            "expected one of every_s, cron",
        ),
        ('[[job]]\nname = "a"\ncommand = ["backup"]\nevery_s = 1', "job[0].every_s"),
        (
            '[[plugin]]\nname = "a"\nfile = "load.py"\noptions.pont = "x"',
            "options.pont: unknown option, did you mean 'point'",
        ),
        (
            '[[plugin]]\nname = "a"\nfile = "load.py"\noptions.point = 3',
            "options.point: expected a value like",
        ),
        ('[[plugin]]\nname = "a"\nfile = "none.py"', "expected a readable file"),
        ('[[plugin]]\nname = "a"\nfile = "../load.py"', "plugin[0].file"),
        (
            '[[plugin]]\nname = "a-b"\nfile = "load.py"\n[[plugin]]\nname = "A_b"\nfile = "load.py"',
            "expected each name once",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(tmp_path: Path, tables: str, text: str) -> None:
    file = configure(tmp_path, 0, tables)
    with pytest.raises(FaultyFile) as error:
        load(file)
    assert text in str(error.value)
