"""The configuration file: what it may say, and everything that is wrong with it at once.

`load` reads the file and the profiles it names and checks what no single table can know: names
used once, units used once per line, secrets present. It opens no port and touches no device.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field, field_validator

from agent.drivers import DRIVERS, LineOptions
from agent.drivers.modbus.tcp import ModbusTcpOptions
from agent.drivers.profile import find
from agent.drivers.udp import UdpJsonOptions
from agent.schema import Fault, FaultyFile, FilePath, Name, Options, load_toml, read, validate
from agent.server.options import ServerOptions
from agent.store import StoreOptions
from agent.uplink import UplinkOptions


class AgentOptions(Options):
    """`[agent]`: who we are and where our files are (relative paths start at the config file)."""

    site: Name
    data_dir: FilePath = Path("data")
    profile_dir: FilePath | None = None
    timezone: str = "America/Sao_Paulo"
    trust_clock: Literal["synchronised", "always"] = "synchronised"
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    health_interval_s: Annotated[float, Field(ge=1, le=3600)] = 10.0

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"expected a time zone like 'America/Sao_Paulo', found {name!r}") from error
        return name


class ConfigFile(Options):
    """The whole file."""

    agent: AgentOptions
    store: StoreOptions = StoreOptions()
    server: ServerOptions = ServerOptions()
    uplink: Annotated[list[UplinkOptions], Field(max_length=16)] = Field(default_factory=list)
    line: Annotated[list[LineOptions], Field(max_length=1000)] = Field(default_factory=list)


class Config(NamedTuple):
    """A configuration without faults: the file's options, its paths made absolute, its profiles read."""

    file: Path
    options: ConfigFile
    data_dir: Path
    profiles: dict[str, BaseModel]


def load(file: Path) -> Config:
    """The configuration in `file`, or FaultyFile with every fault of it and of its profiles."""
    options = validate(ConfigFile, _with_paths(load_toml(file), file.resolve().parent), str(file))
    faults: list[Fault] = []
    profiles = _profiles(options, str(file), faults)
    faults += [Fault(str(file), path, text) for path, text in _contradictions(options)]
    if faults:
        raise FaultyFile(faults)
    return Config(file, options, file.resolve().parent / options.agent.data_dir, profiles)


PATH_KEYS = ("data_dir", "profile_dir", "token_file", "ca_file")


def _with_paths(data: Any, folder: Path) -> Any:
    """`data` with its relative paths made absolute, as seen from the folder of the config file."""
    if isinstance(data, list):
        return [_with_paths(item, folder) for item in data]
    if not isinstance(data, dict):
        return data
    return {
        key: str(folder / value)
        if key in PATH_KEYS and isinstance(value, str) and value
        else _with_paths(value, folder)
        for key, value in data.items()
    }


def _profiles(options: ConfigFile, file: str, faults: list[Fault]) -> dict[str, BaseModel]:
    """The profiles that the devices name; what is wrong with them is added to `faults` once."""
    folder = options.agent.profile_dir
    folders = (folder,) if folder else ()
    profiles: dict[str, BaseModel] = {}
    tried: set[tuple[str, str]] = set()
    for line_at, line in enumerate(options.line):
        _, model = DRIVERS[line.driver]
        for device_at, device in enumerate(line.device):
            if (line.driver, device.profile) in tried:
                continue
            tried.add((line.driver, device.profile))
            path = f"line[{line_at}].device[{device_at}].profile"
            try:
                profiles[device.profile] = _read_profile(device.profile, folders, model, line.driver)
            except FaultyFile as fault:
                faults.append(Fault(file, path, str(fault)))
    return profiles


def _read_profile(name: str, folders: tuple[Path, ...], model: type[BaseModel], driver: str) -> BaseModel:
    file = find(name, folders)
    written = load_toml(file).get("driver")
    wanted = model.model_fields["driver"].annotation.__args__[0]  # type: ignore[union-attr]  # a Literal of one
    if isinstance(written, str) and written != wanted:
        text = f'expected a profile for driver = "{wanted}" on a {driver} line, found driver = "{written}"'
        raise FaultyFile([Fault(str(file), "driver", text)])
    return read(model, file)


def _contradictions(options: ConfigFile) -> Iterator[tuple[str, str]]:
    """What is wrong between tables, as key path and text."""
    yield from _twice(((f"line[{at}].name", line.name) for at, line in enumerate(options.line)), "line")
    yield from _twice(((f"uplink[{at}].name", up.name) for at, up in enumerate(options.uplink)), "uplink")
    devices = [
        (f"line[{line_at}].device[{at}]", line, device)
        for line_at, line in enumerate(options.line)
        for at, device in enumerate(line.device)
    ]
    yield from _twice(((f"{path}.name", device.name) for path, _, device in devices), "device")
    for path, _, device in devices:
        if device.name == "agent":
            yield f"{path}.name", "expected another name: 'agent' is the agent itself"
    for line_at, line in enumerate(options.line):
        table = f"line[{line_at}].device"
        if isinstance(line, ModbusTcpOptions):
            yield from _twice(
                ((f"{table}[{n}].unit_id", d.unit_id) for n, d in enumerate(line.device)), "unit id"
            )
        if isinstance(line, UdpJsonOptions):
            yield from _twice(((f"{table}[{n}].id", d.id or d.name) for n, d in enumerate(line.device)), "id")
    yield from _clashing_sockets(options)
    for at, uplink in enumerate(options.uplink):
        yield from _secret_faults(f"uplink[{at}].token_file", uplink.token_file)
        if uplink.ca_file and not uplink.tls:
            yield f"uplink[{at}].ca_file", "expected tls = true beside it: without TLS it is never used"
        if uplink.ca_file and not uplink.ca_file.is_file():
            yield f"uplink[{at}].ca_file", f"expected a readable file, found none at {uplink.ca_file}"


def _clashing_sockets(options: ConfigFile) -> Iterator[tuple[str, str]]:
    udp = [(at, line) for at, line in enumerate(options.line) if isinstance(line, UdpJsonOptions)]
    yield from _twice(((f"line[{at}].port", line.port) for at, line in udp), "UDP port")


def _twice(items: Iterable[tuple[str, Hashable]], noun: str) -> Iterator[tuple[str, str]]:
    items = list(items)
    counts = Counter(value for _, value in items)
    first: dict[Hashable, str] = {}
    for path, value in items:
        if counts[value] > 1 and value in first:
            yield path, f"expected each {noun} once, {value!r} is also at {first[value]}"
        first.setdefault(value, path)


def _secret_faults(path: str, file: Path) -> Iterator[tuple[str, str]]:
    try:
        mode = file.stat().st_mode
        file.open("rb").close()
    except OSError as error:
        yield path, f"expected a readable file with the secret, {file}: {error.strerror}"
        return
    if os.name == "posix" and mode & (stat.S_IRWXO):
        yield path, f"expected a file that others cannot read, found mode {mode & 0o777:o}: chmod 600 {file}"
