"""The adapter of docs/control.md, run as it stands there, against a simulator that is none of ours."""

import re
from pathlib import Path
from typing import Any

import pytest

from agent.control.room import Rung

DOCS = Path(__file__).parents[2] / "docs" / "control.md"


class Foreign:
    """A first-order room and a unit with a wide dead band. `bare`: only a temperature is measured."""

    def __init__(self, *, bare: bool) -> None:
        self.bare = bare
        self.minute, self.room_c, self.running = 0, 28.0, False
        self.inside_c: list[float] = []
        self.told: list[tuple[bool, float]] = []

    @property
    def _outdoor_c(self) -> float:
        return 24.0 + 8.0 * (1 - abs(self.minute % 1440 - 900) / 900)

    @property
    def outdoor_c(self) -> float | None:
        return None if self.bare else self._outdoor_c

    @property
    def power_w(self) -> float | None:
        return None if self.bare else 1200.0 if self.running else 4.0

    @property
    def humidity_pct(self) -> float | None:
        return None if self.bare else 50.0

    def step(self, on: bool, setpoint_c: float, minutes: int) -> None:
        for _ in range(minutes):
            self.told.append((on, setpoint_c))
            self.running = on and self.room_c > setpoint_c + (-0.4 if self.running else 0.4)
            self.room_c += (self._outdoor_c + 2 - self.room_c) / 240 - 0.12 * self.running
            self.minute += 1
            if 8 <= self.minute // 60 % 24 < 18 and self.minute // 1440 % 7 < 5:
                self.inside_c.append(self.room_c)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("step", [1, 5, 15])
def test_the_adapter_of_the_documentation_drives_a_foreign_room(step: int, bare: bool) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if "def drive" in block)
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCS), "exec"), names)
    foreign = Foreign(bare=bare)
    loop = names["drive"](foreign, 5, step)
    last = foreign.inside_c[-600:]
    assert sum(max(temp - 25, 0) for temp in last) / 60 < 0.1
    assert sum(last) / len(last) > 23.7
    assert loop.state.rooms["room"].rung <= Rung.OPTIMUM_START, loop.verdicts
    if step == 1:
        assert loop.state.rooms["room"].rung == Rung.OPTIMISER, loop.verdicts
    assert any(not on for on, _ in foreign.told)
    assert {setpoint % 0.5 for _, setpoint in foreign.told} == {0.0}
