"""A device type as data: its points, in groups that are read together, from a TOML datasheet.

A driver refines `Profile` with what it must know to read a point (a register, a JSON key). Profiles
come with the agent (`agent/drivers/profiles`) or from a folder named in the config, which wins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from agent.model import Kind, Point, Writable
from agent.schema import NAME_PATTERN, Fault, FaultyFile, Name, Options

BUILT_IN = Path(__file__).parent / "profiles"
POINTS_PER_GROUP_MAX = 1000
SCALE_MIN, SCALE_MAX = 1e-12, 1e12
OFFSET_MAX = 1e15


def _is_said(text: str) -> str:
    if not text.strip():
        raise ValueError("expected words, found none")
    return text


def _is_scale(scale: float) -> float:
    if not SCALE_MIN <= abs(scale) <= SCALE_MAX:
        raise ValueError(
            f"expected another number than 0, {SCALE_MIN:g} to {SCALE_MAX:g} or the same below 0,"
            f" found {scale:g}"
        )
    return scale


Said = Annotated[str, Field(max_length=400), AfterValidator(_is_said)]
Sources = Annotated[list[Said], Field(min_length=1, max_length=32)]
# With these bounds no raw value is scaled beyond what a float holds.
Scale = Annotated[float, AfterValidator(_is_scale)]
Offset = Annotated[float, Field(ge=-OFFSET_MAX, le=OFFSET_MAX)]


class PointOptions(Options):
    """What every driver says of a point. `states` gives codes their words (1 = "heat")."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    unit: Annotated[str, Field(max_length=16)] = ""
    kind: Literal["gauge", "total", "state"] = "gauge"
    states: Annotated[Mapping[str, str], Field(max_length=256)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _codes_are_whole(self) -> PointOptions:
        for code in self.states:
            if not re.fullmatch(r"-?[0-9]{1,19}", code):
                raise ValueError(f"states: expected whole numbers as codes, found {code!r}")
        return self

    def point(self, fallback: float | None = None) -> Point:
        """The point as the rest of the agent knows it; `fallback` is what the device's options say."""
        states = {int(code): word for code, word in self.states.items()}
        writable = self._writable()
        if writable is not None:
            writable = replace(writable, fallback=fallback)
        return Point(self.name, self.unit, Kind(self.kind), states, writable)

    def _writable(self) -> Writable | None:
        """What may be written to the point; None: nothing."""
        return None


class WritablePointOptions(PointOptions):
    """A point of a driver that can write. `on_silence`: what the device does when it no longer hears us."""

    writable: bool = False
    min: float | None = None
    max: float | None = None
    step: Annotated[float, Field(gt=0)] | None = None
    on_silence: Annotated[str, Field(max_length=400)] = ""

    @model_validator(mode="after")
    def _says_what_may_be_written(self) -> WritablePointOptions:
        if self.writable and not self.on_silence:
            raise ValueError(
                "on_silence: expected words on what the device does when we go silent, found none"
            )
        stray = [key for key in type(self).keys_of_writing() if key in self.model_fields_set]
        if not self.writable and stray:
            raise ValueError(f"{stray[0]}: expected writable = true beside it")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min: expected at most max, found {self.min} > {self.max}")
        return self

    @classmethod
    def keys_of_writing(cls) -> tuple[str, ...]:
        """The keys that mean nothing for a point that is only read."""
        return ("min", "max", "step", "on_silence")

    def _writable(self) -> Writable | None:
        if not self.writable:
            return None
        low = -math.inf if self.min is None else self.min
        high = math.inf if self.max is None else self.max
        return Writable(low, high, self.step or 0.0, self.on_silence)


class DeviceOptions(Options):
    """What every driver says of a device on its line."""

    name: Name
    profile: Name
    label: Annotated[str, Field(max_length=128)] = ""


class CommandedDeviceOptions(DeviceOptions):
    """A device that can be written to. `fallback`: by point, what is written when the last command on it ends
    and on a clean stop; a point without one keeps what it has."""

    fallback: Annotated[Mapping[str, float], Field(max_length=64)] = Field(default_factory=dict)


def find(name: str, folders: tuple[Path, ...]) -> Path:
    """The file of the profile `name`: the first folder that has it wins, the built-in ones come last.

    FaultyFile names what was looked for and which profiles exist.
    """
    known: set[str] = set()
    is_name = re.fullmatch(NAME_PATTERN, name) is not None
    for folder in (*folders, BUILT_IN):
        file = folder / f"{name}.toml"
        if is_name and file.is_file():
            return file
        known.update(each.stem for each in folder.glob("*.toml"))
    text = f"no profile of this name; known profiles: {', '.join(sorted(known)) or 'none'}"
    raise FaultyFile([Fault(name, "", text)])
