"""What the configuration and the profiles say of UDP telemetry modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from agent.drivers.profile import (
    POINTS_PER_GROUP_MAX,
    CommandedDeviceOptions,
    Said,
    Sources,
    WritablePointOptions,
)
from agent.drivers.udp.keys import FaultyKeys, read_keys
from agent.schema import FilePath, Host, Name, Options, Port


class UdpPoint(WritablePointOptions):
    """A value of a sample. `key`: its name in JSON and in the layout, the point's own if not given.

    `writable`: the module takes commands for it.
    """

    key: str = ""


class UdpGroup(Options):
    name: Name
    point: Annotated[list[UdpPoint], Field(min_length=1, max_length=POINTS_PER_GROUP_MAX)]


class UdpProfile(Options):
    """What a module sends, in the order that its packed samples have. One group: a sample is a reading."""

    driver: Literal["udp"]
    title: Said
    source: Sources
    group: Annotated[list[UdpGroup], Field(min_length=1, max_length=1)]

    @model_validator(mode="after")
    def _keys_are_unique(self) -> UdpProfile:
        for names in ([point.name for point in self.group[0].point], self.keys):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"expected each point and key once, found twice: {', '.join(twice)}")
        return self

    @property
    def keys(self) -> list[str]:
        """What each point is called on the wire, in the order of the points."""
        return [point.key or point.name for point in self.group[0].point]


class UdpDeviceOptions(CommandedDeviceOptions):
    """A module. `id` is what it calls itself, `name` if not given; `unsigned` lets anyone speak for it."""

    id: Annotated[str, Field(max_length=64)] = ""
    unsigned: bool = False
    silence_s: Annotated[float, Field(ge=1, le=86400)] = 60.0
    command_timeout_s: Annotated[float, Field(ge=0.1, le=3600)] = 5.0


class UdpOptions(Options):
    """One UDP socket that any number of modules send to."""

    driver: Literal["udp"]
    name: Name
    host: Host = "0.0.0.0"  # noqa: S104 - modules are on the LAN
    port: Port
    key_file: FilePath | None = None
    skew_s_max: Annotated[float, Field(ge=1, le=10 * 365 * 86400)] = 7 * 86400.0
    device: Annotated[list[UdpDeviceOptions], Field(min_length=1, max_length=1000)]


def module_faults(options: UdpOptions) -> Iterator[tuple[str, str]]:
    """What is wrong among the modules of a line and with its key file, as key path and text."""
    yield from _id_faults(options)
    try:
        keys = read_keys(options.key_file) if options.key_file else {}
    except FaultyKeys as faulty:
        yield from (("key_file", f"{options.key_file}: {fault}") for fault in faulty.faults)
        return
    except OSError:
        return  # said by whoever checks that secrets can be read
    for at, device in enumerate(options.device):
        name, path = device.id or device.name, f"device[{at}].unsigned"
        if device.unsigned and name in keys:
            yield path, f"expected false: {name!r} has a key, and what it does not sign is not from it"
        if not device.unsigned and name not in keys:
            yield path, f"expected a key of {name!r} in the key_file of its line, or unsigned = true"


def _id_faults(options: UdpOptions) -> Iterator[tuple[str, str]]:
    """A module without an `id` goes by its name, which may be the `id` of another."""
    ids = {device.id: at for at, device in enumerate(options.device) if device.id}
    for at, device in enumerate(options.device):
        if not device.id and device.name in ids:
            other = f"device[{ids[device.name]}].id"
            yield f"device[{at}].name", f"expected each id once, {device.name!r} is also at {other}"
