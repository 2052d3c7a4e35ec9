"""The configuration file: what it may say, and everything that is wrong with it at once.

`load` reads the file and the profiles it names and checks what no single table can know: names
used once, units used once per line, secrets present. It opens no port and touches no device.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field, field_validator

from agent.alarms import ALARMS_MAX, AlarmsOptions, Rule, rule_faults
from agent.alarms.outlets import AnyOutlet, outlet_faults
from agent.analysis.site.options import AnalysisOptions, MeterOptions, analysis_faults, built_in_jobs
from agent.control.faults import control_faults, room_faults
from agent.control.options import ControlOptions, RoomOptions, TariffOptions
from agent.drivers import DRIVERS, LineOptions
from agent.drivers.modbus.profile import ModbusProfile
from agent.drivers.profile import find
from agent.drivers.serial.line import SerialLinesOptions, wire_faults
from agent.drivers.udp import UdpOptions, module_faults
from agent.logs import LogFormat
from agent.plugins.options import PluginOptions, all_plugin_faults
from agent.reports.options import ReportsOptions, report_faults
from agent.schedule.options import JobOptions, job_faults, slug
from agent.schema import Fault, FaultyFile, FilePath, Name, Options, load_toml, read, validate
from agent.server.options import ServerOptions
from agent.store import StoreOptions
from agent.tls import own_context
from agent.uplink import SECRET_KEYS, UplinkOptions, certificate_faults, secret, standby_faults
from agent.uplink.rest_options import rest_faults

PROFILE_DIR = Path("profiles")  # need not be there, as long as the file does not name it


class AgentOptions(Options):
    """`[agent]`: who we are and where our files are (relative paths start at the config file)."""

    site: Name
    data_dir: FilePath = Path("data")
    profile_dir: FilePath = PROFILE_DIR
    tariff_dir: FilePath | None = None
    plugin_dir: FilePath | None = None
    timezone: str = "America/Sao_Paulo"
    trust_clock: Literal["synchronised", "always"] = "synchronised"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: LogFormat = "text"
    card_endurance_tb: Annotated[float, Field(gt=0, le=100_000)] | None = None
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
    alarms: AlarmsOptions = AlarmsOptions()
    alarm: Annotated[list[Rule], Field(max_length=ALARMS_MAX)] = Field(default_factory=list)
    outlet: Annotated[list[AnyOutlet], Field(max_length=16)] = Field(default_factory=list)
    uplink: Annotated[list[UplinkOptions], Field(max_length=16)] = Field(default_factory=list)
    line: Annotated[list[LineOptions], Field(max_length=1000)] = Field(default_factory=list)
    job: Annotated[list[JobOptions], Field(max_length=100)] = Field(default_factory=list)
    plugin: Annotated[list[PluginOptions], Field(max_length=100)] = Field(default_factory=list)
    analysis: AnalysisOptions = AnalysisOptions()
    meter: Annotated[list[MeterOptions], Field(max_length=1000)] = Field(default_factory=list)
    reports: ReportsOptions = ReportsOptions()
    control: ControlOptions = ControlOptions()
    tariff: TariffOptions = TariffOptions()
    room: Annotated[list[RoomOptions], Field(max_length=100)] = Field(default_factory=list)


class Config(NamedTuple):
    """A configuration without faults: the file's options, its paths made absolute, its profiles read."""

    file: Path
    options: ConfigFile
    data_dir: Path
    profiles: dict[str, BaseModel]
    profile_dir: Path  # may not be there
    in_memory: str = ""  # why data_dir is not the one of the options but stands in for it, in memory


def load(file: Path, own_profiles: Path | None = None) -> Config:
    """The configuration in `file`, or FaultyFile with every fault of it and of its profiles; `own_profiles`
    is a folder to be read in place of `profile_dir`."""
    folder = file.resolve().parent
    data = _with_paths(load_toml(file), folder)
    faults: list[Fault] = []
    options = None
    try:
        options = validate(ConfigFile, data, str(file))
    except FaultyFile as faulty:
        faults += faulty.faults
    # What follows looks at the tables as they are written, so that it is found in the same round.
    profile_dir = folder / _profile_dir(data)
    profiles = _profiles(data, str(file), own_profiles or profile_dir, faults)
    texts = [*_contradictions(data), *(_line_faults(options, profiles) if options else ())]
    texts += _job_faults(options) if options else ()
    texts += _control_faults(options, profiles) if options else ()
    faults += [Fault(str(file), path, text) for path, text in texts]
    if faults or options is None:
        raise FaultyFile(faults)
    return Config(file, options, folder / options.agent.data_dir, profiles, profile_dir)


RESERVED = ("agent", "analysis", "control", "job")

PATH_KEYS = (
    "data_dir",
    "profile_dir",
    "tariff_dir",
    "plugin_dir",
    "ca_file",
    "cert_file",
    "key_file",
    "rest_password_file",
    "rest_ca_file",
    "tls_cert_file",
    "tls_key_file",
    "controller_file",
    "secret_file",
    *SECRET_KEYS,
)


HANDED_IN_KEYS = (*SECRET_KEYS, "key_file", "rest_password_file", "tls_key_file")


def _place(key: str, path: str, folder: Path) -> str:
    """Where `path` is: systemd hands secrets in under their path with "_" for "/" (LoadCredential=)."""
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    if given and key in HANDED_IN_KEYS and (handed_in := Path(given) / path.replace("/", "_")).is_file():
        return str(handed_in)
    return str(folder / path)


def _with_paths(data: Any, folder: Path) -> Any:
    """`data` with its relative paths made absolute, as seen from the folder of the config file."""
    if isinstance(data, list):
        return [_with_paths(item, folder) for item in data]
    if not isinstance(data, dict):
        return data
    return {
        key: _place(key, value, folder)
        if key in PATH_KEYS and isinstance(value, str) and value
        else _with_paths(value, folder)
        for key, value in data.items()
    }


def _tables(data: Any, key: str, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The tables of a list of tables, each with its key path; what is not a table is left out."""
    found = data.get(key) if isinstance(data, dict) else None
    items = found if isinstance(found, list) else []
    return [(f"{path}{key}[{at}]", item) for at, item in enumerate(items) if isinstance(item, dict)]


def _devices(data: Any) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every device with its key path and its line."""
    return [
        (path, line, device)
        for line_path, line in _tables(data, "line")
        for path, device in _tables(line, "device", f"{line_path}.")
    ]


def profiles_in_use(file: Path) -> tuple[Path, dict[str, list[str]]]:
    """Where own profiles are, and which devices use which, whatever else is wrong with `file`."""
    data, used = load_toml(file), dict[str, list[str]]()
    for _, _, device in _devices(data):
        used.setdefault(str(device.get("profile")), []).append(str(device.get("name")))
    return file.resolve().parent / _profile_dir(data), used


def _profile_dir(data: Any) -> Path:
    agent = data.get("agent")
    folder = agent.get("profile_dir") if isinstance(agent, dict) else None
    return Path(folder) if isinstance(folder, str) else PROFILE_DIR


def _profiles(data: Any, file: str, folder: Path, faults: list[Fault]) -> dict[str, BaseModel]:
    """The profiles that the devices name; what is wrong with them is added to `faults` once."""
    profiles: dict[str, BaseModel] = {}
    tried: set[tuple[str, str]] = set()
    for path, line, device in _devices(data):
        driver, name = line.get("driver"), device.get("profile")
        if not isinstance(driver, str) or not isinstance(name, str):
            continue
        if driver not in DRIVERS or (driver, name) in tried:
            continue
        tried.add((driver, name))
        try:
            profiles[name] = _read_profile(name, (folder,), DRIVERS[driver][1], driver)
        except FaultyFile as faulty:
            faults += [Fault(file, f"{path}.profile", str(fault)) for fault in faulty.faults]
    return profiles


def _read_profile(name: str, folders: tuple[Path, ...], model: type[BaseModel], driver: str) -> BaseModel:
    file = find(name, folders)
    written = load_toml(file).get("driver")
    wanted = model.model_fields["driver"].annotation.__args__[0]  # type: ignore[union-attr]  # a Literal of one
    if isinstance(written, str) and written != wanted:
        text = f'expected a profile for driver = "{wanted}" on a {driver} line, found driver = "{written}"'
        raise FaultyFile([Fault(str(file), "driver", text)])
    return read(model, file)


def _contradictions(data: Any) -> Iterator[tuple[str, str]]:
    """What is wrong between tables, and with the files they name, as key path and text."""
    lines, uplinks, devices = _tables(data, "line"), _tables(data, "uplink"), _devices(data)
    yield from _twice("line", "name", lines)
    yield from _twice("uplink", "name", uplinks)
    yield from standby_faults(uplinks)
    yield from _twice("device", "name", [(path, device) for path, _, device in devices])
    yield from _twice("room", "id", _tables(data, "room"))
    for path, _, device in devices:
        if device.get("name") in RESERVED:
            yield f"{path}.name", f"expected another name: {device['name']!r} is the agent itself"
    for path, line in lines:
        own = _tables(line, "device", f"{path}.")
        if str(line.get("driver")).startswith("modbus"):
            yield from _twice("unit id", "unit_id", own, default=1)
        if line.get("driver") == "udp":
            known_as = [(at, {"id": device.get("id") or device.get("name")}) for at, device in own]
            yield from _twice("id", "id", known_as)
    yield from _twice("UDP port", "port", [at for at in lines if at[1].get("driver") == "udp"])
    ports = [(at, os.path.realpath(line["port"])) for at, line in lines if isinstance(line.get("port"), str)]
    yield from _twice("serial port", "port", [(at, {"port": port}) for at, port in ports])
    names = {str(device.get("name")) for _, _, device in devices}
    agent = data.get("agent")
    site = agent.get("site") if isinstance(agent, dict) else None
    for path, uplink in uplinks:
        yield from ((f"{path}.{key}", text) for key, text in rest_faults(uplink, site, names))
    outlets = _tables(data, "outlet")
    yield from _twice("outlet", "name", outlets)
    yield from outlet_faults(outlets, [table for _, table in uplinks])
    yield from _file_faults(data, [*lines, *uplinks, *outlets])


def _file_faults(data: Any, tables: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, str]]:
    """What is wrong with the files and folders that the tables name."""
    folder = _profile_dir(data)
    if folder.name != PROFILE_DIR.name and not folder.is_dir():
        yield "agent.profile_dir", f"expected a folder, found none at {folder}"
    yield from _certificate_faults(data.get("server"))
    for path, table in tables:
        for key in ("key_file", "rest_password_file", "secret_file", *SECRET_KEYS):
            if isinstance(secret := table.get(key), str) and secret:
                yield from _secret_faults(f"{path}.{key}", Path(secret), one_line=key != "key_file")
        yield from ((f"{path}.{key}", text) for key, text in certificate_faults(table))
        if isinstance(ca_file := table.get("ca_file"), str):
            yield from _ca_faults(
                f"{path}.ca_file", ca_file, tls=table.get("tls") is True or path.startswith("outlet")
            )
        if isinstance(ca_file := table.get("rest_ca_file"), str):
            yield from _ca_faults(f"{path}.rest_ca_file", ca_file, tls=True)


def _certificate_faults(server: Any) -> Iterator[tuple[str, str]]:
    """What is wrong with the server's own certificate."""
    files = [server.get(f"tls_{key}_file") for key in ("cert", "key")] if isinstance(server, dict) else []
    certificate, key = files or (None, None)
    if isinstance(certificate, str) and isinstance(key, str):
        yield from _secret_faults("server.tls_key_file", Path(key), one_line=False)
        try:
            own_context(Path(certificate), Path(key))
        except OSError as error:
            yield "server.tls_cert_file", str(error)


def _ca_faults(path: str, file: str, *, tls: bool) -> Iterator[tuple[str, str]]:
    if not tls:
        yield path, "expected tls = true beside it: without TLS it is never used"
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        yield path, f"expected certificates in PEM in {file}: {error.strerror or error}"


def _fallback_faults(device: Any, profile: Any) -> Iterator[tuple[str, str]]:
    """What of a device's `fallback` cannot be written to it."""
    points = {point.name: point for group in profile.group for point in group.point}
    for name, value in getattr(device, "fallback", {}).items():
        if name not in points:
            known = ", ".join(each for each, point in points.items() if point.point().writable) or "none"
            yield f"fallback.{name}", f"expected a writable point of profile {device.profile} ({known})"
            continue
        try:
            points[name].point().check(value)
            if isinstance(profile, ModbusProfile):
                profile.check_write(points[name], value)
        except ValueError as error:
            yield f"fallback.{name}", str(error)


def _control_faults(options: ConfigFile, profiles: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with rooms and tariff, as far as the profiles of the devices could be read."""
    if options.tariff.id:
        # Only where there is a tariff.
        from agent.tariff import load as load_tariff  # noqa: PLC0415

        try:
            load_tariff(options.tariff.id, (options.agent.tariff_dir,) if options.agent.tariff_dir else ())
        except FaultyFile as faulty:
            yield from (("tariff.id", str(fault)) for fault in faulty.faults)
    devices = [device for line in options.line for device in line.device]
    if all(device.profile in profiles for device in devices):
        points = {
            f"{device.name}.{point.name}": point.point(getattr(device, "fallback", {}).get(point.name))
            for device in devices
            for group in cast(Any, profiles[device.profile]).group
            for point in group.point
        }
        yield from room_faults(options.room, points)
        yield from control_faults(options.control, points)


def _alarm_faults(options: ConfigFile, profiles: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the rules of alarms, as far as the profiles of the devices could be read."""
    devices = [device for line in options.line for device in line.device]
    points = {
        device.name: {point.name for group in profiles[device.profile].group for point in group.point}
        for device in devices
        if device.profile in profiles
    }
    if len(points) == len(devices):
        yield from rule_faults(options.alarm, points)
        yield from analysis_faults(options.analysis, options.meter, points)


def _line_faults(options: ConfigFile, profiles: Mapping[str, BaseModel]) -> Iterator[tuple[str, str]]:
    yield from _alarm_faults(options, profiles)
    for at, line in enumerate(options.line):
        for number, device in enumerate(line.device):
            found = _fallback_faults(device, profiles[device.profile]) if device.profile in profiles else ()
            yield from ((f"line[{at}].device[{number}].{path}", text) for path, text in found)
        if isinstance(line, UdpOptions):
            yield from ((f"line[{at}].{path}", text) for path, text in module_faults(line))
        if isinstance(line, SerialLinesOptions):
            yield from ((f"line[{at}].{path}", text) for path, text in wire_faults(line, profiles))


def _job_faults(options: ConfigFile) -> Iterator[tuple[str, str]]:
    zone = ZoneInfo(options.agent.timezone)
    yield from job_faults(options.job, zone)
    yield from report_faults(options.reports, zone)
    yield from all_plugin_faults(options.plugin, options.agent.plugin_dir, zone)
    tables = [("analysis", name) for name in built_in_jobs(options.analysis)]
    tables += [(f"job[{at}]", each.name) for at, each in enumerate(options.job)]
    tables += [(f"plugin[{at}]", each.name) for at, each in enumerate(options.plugin)]
    tables = [("reports", name) for name in options.reports.jobs] + tables
    yield from _twice("name", "name", [(path, {"name": slug(name)}) for path, name in tables])


def _twice(
    noun: str, key: str, tables: Iterable[tuple[str, dict[str, Any]]], default: Hashable = None
) -> Iterator[tuple[str, str]]:
    """The tables whose `key` another one before them has too."""
    first: dict[Hashable, str] = {}
    for path, table in tables:
        value = default if table.get(key) in (None, "") else table[key]
        if not isinstance(value, str | int):
            continue
        if value in first:
            yield f"{path}.{key}", f"expected each {noun} once, {value!r} is also at {first[value]}"
        first.setdefault(value, f"{path}.{key}")


def _secret_faults(path: str, file: Path, *, one_line: bool) -> Iterator[tuple[str, str]]:
    try:
        mode = file.stat().st_mode
        file.open("rb").close()
        if one_line:
            secret(file)
    except OSError as error:
        reason = error.strerror or str(error).removeprefix(f"{file}: ")
        yield path, f"expected a readable file with the secret, {file}: {reason}"
        return
    if os.name == "posix" and mode & stat.S_IRWXO:
        yield path, f"expected a file that others cannot read, found mode {mode & 0o777:o}: chmod 600 {file}"
