"""What a site should be at the centre: devices, their profiles, assets, relations, a dashboard. Pure.

What is not made yet has no id, so bodies name it by a reference, a text that `resolved` replaces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from agent.centre.dashboard import Language, configuration
from agent.model import Group
from agent.uplink.rest_options import RoomOptions

MARK = "uicpsAgent"
GATEWAY_PROFILE = "uicps-agent"
AGENT_DEVICE = "agent"  # the agent's own points belong to the gateway device
CONTAINS, CREATED = "Contains", "Created"
_REF = "\x00"


class Ref(NamedTuple):
    """An entity by kind (`DEVICE`, `ASSET`, `DEVICE_PROFILE`) and name."""

    kind: str
    name: str


class WantedDevice(NamedTuple):
    """`profile` is a device profile's name; `label` "" leaves the one at the centre as it is."""

    name: str
    profile: str
    label: str
    gateway: bool = False


class WantedAsset(NamedTuple):
    """`type` is an asset profile's name, which the centre makes by itself."""

    name: str
    type: str
    label: str


class Link(NamedTuple):
    """A relation, in the common group."""

    source: Ref
    kind: str
    target: Ref


@dataclass(frozen=True, slots=True)
class Wanted:
    """`owner` marks what is ours. `token`: the gateway's access token, None if it has none of its own."""

    owner: str
    token: str | None = field(repr=False)
    profiles: tuple[str, ...]
    devices: tuple[WantedDevice, ...]
    assets: tuple[WantedAsset, ...]
    links: tuple[Link, ...]
    title: str
    configuration: Mapping[str, Any]
    language: Language

    @property
    def gateway(self) -> Ref:
        return Ref("DEVICE", self.devices[0].name)


def wanted(
    site: str,
    groups: Iterable[Group],
    *,
    rooms: Sequence[RoomOptions] = (),
    gateway: str = "",
    token: str | None = None,
    language: Language = "en",
) -> Wanted:
    """All that a site with these groups should be. Devices are named as the MQTT uplink names them."""
    groups = [group for group in groups if group.device.name != AGENT_DEVICE]
    devices = {group.device.name: group.device for group in groups}
    wanted_devices = (
        WantedDevice(gateway or site, GATEWAY_PROFILE, "", gateway=True),
        *(WantedDevice(each.name, each.type, each.label) for each in devices.values()),
    )
    assets, links = _places(site, rooms, wanted_devices)
    return Wanted(
        site,
        token,
        tuple(sorted({each.profile for each in wanted_devices})),
        wanted_devices,
        assets,
        links,
        f"{site} - UICPS Edge Agent",
        configuration(site, groups, lambda name: reference(Ref("DEVICE", name)), language),
        language,
    )


def _places(
    site: str, rooms: Sequence[RoomOptions], devices: Sequence[WantedDevice]
) -> tuple[tuple[WantedAsset, ...], tuple[Link, ...]]:
    """The assets, and what contains what: site, buildings, rooms, devices."""
    root = Ref("ASSET", site)
    assets = {root: WantedAsset(site, "site", "")}
    links: dict[Link, None] = {}
    inside: dict[str, Ref] = {}
    for room in rooms:
        parent = root
        if room.building:
            parent = Ref("ASSET", f"{site} / {room.building}")
            assets[parent] = WantedAsset(parent.name, "building", room.building)
            links[Link(root, CONTAINS, parent)] = None
        own = Ref("ASSET", f"{parent.name} / {room.name}")
        assets[own] = WantedAsset(own.name, "room", room.label or room.name)
        links[Link(parent, CONTAINS, own)] = None
        inside.update(dict.fromkeys(room.devices, own))
    gateway = Ref("DEVICE", devices[0].name)
    for device in devices:
        own = Ref("DEVICE", device.name)
        links[Link(inside.get(device.name, root), CONTAINS, own)] = None
        if not device.gateway:
            links[Link(gateway, CREATED, own)] = None
    return tuple(assets.values()), tuple(links)


def reference(ref: Ref) -> str:
    """A text that stands for the id of `ref` until it is known."""
    return f"{_REF}{ref.kind}:{ref.name}"


def resolved(body: Any, ids: Mapping[Ref, str]) -> Any:
    """`body` with ids in place of references. KeyError if one is not known."""
    if isinstance(body, Mapping):
        return {key: resolved(value, ids) for key, value in body.items()}
    if isinstance(body, list | tuple):
        return [resolved(value, ids) for value in body]
    if isinstance(body, str) and body.startswith(_REF):
        kind, _, name = body.removeprefix(_REF).partition(":")
        return ids[Ref(kind, name)]
    return body


def digest(body: Any) -> str:
    """The same for the same JSON, whatever the order of its keys; without our mark."""
    bare = {key: value for key, value in body.items() if key != MARK}
    return hashlib.sha256(orjson.dumps(bare, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def marked(conf: Mapping[str, Any], owner: str, language: Language) -> dict[str, Any]:
    """A dashboard's configuration that says who made it, and how it was then."""
    return {**conf, MARK: {"owner": owner, "language": language, "digest": digest(conf)}}
