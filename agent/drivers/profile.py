"""A device type as data: its points, in groups that are read together, from a TOML datasheet.

A driver refines `Profile` with what it must know to read a point (a register, a JSON key). Profiles
come with the agent (`agent/drivers/profiles`) or from a folder named in the config, which wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from agent.model import Kind, Point
from agent.schema import Fault, FaultyFile, Name, Options

BUILT_IN = Path(__file__).parent / "profiles"
POINTS_PER_GROUP_MAX = 1000


class PointOptions(Options):
    """What every driver says of a point. `states` gives codes their words (1 = "heat")."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    unit: Annotated[str, Field(max_length=16)] = ""
    kind: Literal["gauge", "total", "state"] = "gauge"
    states: Annotated[Mapping[str, str], Field(max_length=256)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _codes_are_whole(self) -> PointOptions:
        for code in self.states:
            if not code.lstrip("-").isdigit():
                raise ValueError(f"states: expected whole numbers as codes, found {code!r}")
        return self

    def point(self) -> Point:
        """The point as the rest of the agent knows it."""
        return Point(self.name, self.unit, Kind(self.kind), {int(k): v for k, v in self.states.items()})


class DeviceOptions(Options):
    """What every driver says of a device on its line."""

    name: Name
    profile: Name
    label: Annotated[str, Field(max_length=128)] = ""


def find(name: str, folders: tuple[Path, ...]) -> Path:
    """The file of the profile `name`: the first folder that has it wins, the built-in ones come last.

    FaultyFile names what was looked for and which profiles exist.
    """
    known: set[str] = set()
    for folder in (*folders, BUILT_IN):
        file = folder / f"{name}.toml"
        if file.is_file():
            return file
        known.update(each.stem for each in folder.glob("*.toml"))
    text = f"no profile of this name; known profiles: {', '.join(sorted(known)) or 'none'}"
    raise FaultyFile([Fault(name, "", text)])
