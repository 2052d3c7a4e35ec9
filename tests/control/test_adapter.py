"""The adapter of docs/control.md, run as it stands there, against a simulator that is none of ours."""

import re
from pathlib import Path
from typing import Any

from agent.control.room import Rung

DOCS = Path(__file__).parents[2] / "docs" / "control.md"


class Foreign:
    """A room of two lines: a first-order room and a unit with a wide dead band."""

    def __init__(self) -> None:
        self.minute, self.room_c, self.power_w, self.running = 0, 28.0, 0.0, False
        self.inside_c: list[float] = []
        self.told: list[tuple[bool, float]] = []

    @property
    def outdoor_c(self) -> float:
        return 24.0 + 8.0 * (1 - abs(self.minute % 1440 - 900) / 900)

    def step(self, on: bool, setpoint_c: float) -> None:
        self.told.append((on, setpoint_c))
        self.running = on and self.room_c > setpoint_c + (-0.4 if self.running else 0.4)
        self.power_w = 1200.0 if self.running else 4.0
        self.room_c += (self.outdoor_c + 2 - self.room_c) / 240 - 0.12 * self.running
        self.minute += 1
        if 8 <= self.minute // 60 % 24 < 18 and self.minute // 1440 % 7 < 5:
            self.inside_c.append(self.room_c)


def test_the_adapter_of_the_documentation_drives_a_foreign_room() -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if "def drive" in block)
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCS), "exec"), names)
    foreign = Foreign()
    loop = names["drive"](foreign, 5)
    last = foreign.inside_c[-600:]
    assert sum(max(temp - 25, 0) for temp in last) / 60 < 0.1
    assert sum(last) / len(last) > 23.7
    assert loop.state.rooms["room"].rung == Rung.OPTIMISER, loop.verdicts
    assert any(not on for on, _ in foreign.told)
    assert {setpoint % 0.5 for _, setpoint in foreign.told} == {0.0}
