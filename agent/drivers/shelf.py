"""The profiles there are: those that come with the agent, and one's own in a folder, which win."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from agent.drivers import PROFILES
from agent.drivers.modbus.profile import ModbusProfile
from agent.drivers.profile import BUILT_IN
from agent.schema import Fault, FaultyFile, load_toml, read


def files_of(folder: Path | None) -> dict[str, Path]:
    """The file of each profile by name, in the order of the names."""
    found = {file.stem: file for each in (BUILT_IN, folder) if each for file in each.glob("*.toml")}
    return dict(sorted(found.items()))


def read_profile(file: Path) -> BaseModel:
    """The profile in `file`, of whichever driver; FaultyFile with every fault of it."""
    written = load_toml(file).get("driver")
    known = ", ".join(f'"{each}"' for each in PROFILES)
    if not isinstance(written, str):
        raise FaultyFile([Fault(str(file), "driver", f"expected one of {known}, found none")])
    if written not in PROFILES:
        near = difflib.get_close_matches(written, PROFILES, n=1)
        hint = f", did you mean '{near[0]}'?" if near else ""
        raise FaultyFile([Fault(str(file), "driver", f'expected one of {known}, found "{written}"{hint}')])
    return read(PROFILES[written], file)


def modbus_profiles(folder: Path | None, left_out: Callable[[Path, Fault], None]) -> dict[str, ModbusProfile]:
    """Every Modbus profile by name; one that cannot be read is told to `left_out`."""
    profiles: dict[str, ModbusProfile] = {}
    for name, file in files_of(folder).items():
        try:
            profile = read_profile(file)
        except FaultyFile as faulty:
            left_out(file, faulty.faults[0])
            continue
        if isinstance(profile, ModbusProfile):
            profiles[name] = profile
    return profiles
