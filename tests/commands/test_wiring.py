"""`wiring`: from what a meter reads to words, through a line or a running agent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.commands.wiring import _language
from agent.demo.modbus_bus import SimulatedBus

from .running import command, meter
from .sites import agent_on, configure


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
