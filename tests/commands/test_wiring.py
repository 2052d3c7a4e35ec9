"""`wiring`: from what a meter reads to words, through a line or a running agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agent.cli import main
from agent.commands.wiring import Meter, _language
from agent.demo.modbus_bus import SimulatedBus
from agent.hub import Listener
from agent.model import Device, Group, Point, Reading

from .running import command, meter
from .sites import agent_on, configure


class Still:
    """A source that says nothing."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups

    async def run(self, publish: Listener) -> None:
        """Nothing comes."""

    def now_ms(self) -> int:
        return 0

    def words(self, device: str, point: str) -> str:
        return ""


def wiring_group(noun: str, interval_ms: int) -> Group:
    points = tuple(Point(f"{noun}_{phase}") for phase in ("l1", "l2", "l3"))
    return Group(Device("main", "any"), noun, points, interval_ms)


async def test_a_reversed_transformer(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with SimulatedBus(meter(1, reversed_ct="l2")) as bus:
        file = configure(tmp_path, free_port(), bus.port, main=1)
        judged = await command(
            "wiring", str(file), "main", "--generation", "no", "--readings", "3", "--lang", "pt"
        )
    assert judged.code == 1
    assert "main: 3 leituras, a última:\n  L1     127,00 V      10,00 A" in judged.out
    assert "* Transformador de corrente de L2 invertido (quase certo)" in judged.out
    assert "Vire o TC de L2" in judged.out
    assert "Se houver geração (fotovoltaica" not in judged.out


async def test_through_a_running_agent(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with (
        SimulatedBus(meter(1)) as bus,
        agent_on(configure(tmp_path, free_port(), bus.port, main=1)) as asked,
    ):
        judged = await command("wiring", *asked, "main", "--readings", "2")
    assert judged.code == 0
    assert "No wiring fault was found in these readings." in judged.out
    assert "repeat with it off" in judged.out


async def test_too_little_load_is_said(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with SimulatedBus(meter(1, current_a=0.02)) as bus:
        file = configure(tmp_path, free_port(), bus.port, main=1)
        judged = await command("wiring", str(file), "main", "--readings", "1")
    assert judged.code == 1
    assert "Too little load to judge the current transformers" in judged.out
    assert "No wiring fault" not in judged.out


async def test_what_is_no_three_phase_meter_is_said(tmp_path: Path, free_port: Callable[[], int]) -> None:
    file = configure(tmp_path, free_port(), "/dev/none", main=1)
    file.write_text(file.read_text().replace("eastron-sdm630", "eastron-sdm120"))
    judged = await command("wiring", str(file), "main")
    assert judged.code == 1
    assert "expected a three-phase meter, found no point voltage_l1 in its profile" in judged.errors


async def test_one_device(tmp_path: Path, free_port: Callable[[], int]) -> None:
    file = configure(tmp_path, free_port(), "/dev/none", main=1)
    judged = await command("wiring", str(file))
    assert judged.code == 1
    assert "expected the name of one device, found none" in judged.errors


async def test_a_dead_meter_is_said_soon(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with SimulatedBus(meter(1)) as bus:
        file = configure(tmp_path, free_port(), bus.port, main=1, dead=9)
        async with asyncio.timeout(20):
            judged = await command("wiring", str(file), "dead", "--wait-s", "3")
    assert judged.code == 1
    assert "dead does not answer: nothing in 3" in judged.errors
    assert "0 of 5 readings" in judged.errors


async def test_a_meter_of_which_a_part_is_missing() -> None:
    parts = [wiring_group("voltage", 1000), wiring_group("current", 20_000), wiring_group("active_power", 0)]
    meter_of_parts = Meter(Still(parts), [])
    assert meter_of_parts.answer_s == 60
    meter_of_parts.publish([Reading(each, 0, (1.0, 2.0, 3.0)) for each in parts[:2]])
    meter_of_parts.publish([parts[2].bad(0)])
    assert meter_of_parts.silence(60) == "main: no complete reading in 60 s, missing: active_power"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--nominal-v", "nan"),
        ("--nominal-v", "0"),
        ("--nominal-v", "-127"),
        ("--ct-primary-a", "inf"),
        ("--ct-primary-a", "0"),
        ("--clamp-a", "10,nan,10"),
        ("--clamp-a", "10,-1,10"),
        ("--clamp-a", "0,0,0"),
        ("--clamp-a", "10,10"),
    ],
)
def test_what_cannot_be_is_not_believed(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["wiring", str(tmp_path / "config.toml"), "main", f"{option}={value}"])
    assert f"argument {option}: expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "pt_BR.UTF-8"}, "pt"),
        ({"LANG": "pt_BR.UTF-8", "LC_ALL": "en_GB.UTF-8"}, "en"),
        ({"LANG": "C"}, "en"),
        ({}, "en"),
    ],
)
def test_the_language_of_the_system(environment: dict[str, str], language: str) -> None:
    assert _language(environment) == language
