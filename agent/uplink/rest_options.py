"""What an uplink says of its platform's REST side, which is used by commands, never while readings flow."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from agent.schema import FilePath, Name, Options


class RoomOptions(Options):
    """`[[uplink.room]]`: where devices are. A room of no building belongs to the site."""

    name: Name
    label: Annotated[str, Field(max_length=255)] = ""
    building: Annotated[str, Field(max_length=64)] = ""
    devices: Annotated[list[Name], Field(min_length=1, max_length=1000)]


class RestOptions(Options):
    """The REST side of a platform: off while `rest_url` is "". `rest_retention_days` 0: it keeps all."""

    rest_url: Annotated[str, Field(max_length=1024)] = ""
    rest_user: Annotated[str, Field(max_length=255)] = ""
    rest_password_file: FilePath | None = None
    rest_ca_file: FilePath | None = None
    rest_gateway: Annotated[str, Field(max_length=255)] = ""
    rest_retention_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    room: Annotated[list[RoomOptions], Field(max_length=1000)] = Field(default_factory=list)

    @field_validator("rest_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        if not url:
            return url
        if "@" in url or "?" in url or "#" in url:  # it may hold a password: not shown
            raise ValueError("expected an address alone: the user is rest_user, the password in its file")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError(f"expected an address like https://centre.example, found {url!r}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ValueError(f"expected an address like https://centre.example, found {url!r}")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.rest_url and not (self.rest_user and self.rest_password_file):
            raise ValueError("expected rest_user and rest_password_file beside rest_url")
        if self.rest_ca_file and not self.rest_url.startswith("https:"):
            raise ValueError("expected a rest_url with https beside rest_ca_file: otherwise it is never used")
        return self


def rest_faults(
    uplink: Mapping[str, Any], site: object, devices: Collection[str]
) -> Iterator[tuple[str, str]]:
    """What is wrong between an uplink, as it is written, and the site and devices of the config."""
    gateway = uplink.get("rest_gateway") or site
    if uplink.get("rest_url") and gateway in devices:
        text = (
            f"expected another name than a device's for the gateway device at the centre, found {gateway!r}"
        )
        yield "rest_gateway", text
    written = uplink.get("room")
    rooms = [room for room in written if isinstance(room, dict)] if isinstance(written, list) else []
    buildings = {str(room.get("building")) for room in rooms}
    names: set[str] = set()
    placed: dict[str, str] = {}
    for at, room in enumerate(rooms):
        name = str(room.get("name"))
        if name in names or (name in buildings and not room.get("building")):
            yield f"room[{at}].name", f"expected each room and building once, found {name!r} again"
        names.add(name)
        inside = room.get("devices")
        for device in inside if isinstance(inside, list) else ():
            yield from (
                (f"room[{at}].devices", text) for text in _device_faults(device, name, devices, placed)
            )


def _device_faults(
    device: object, room: str, devices: Collection[str], placed: dict[str, str]
) -> Iterator[str]:
    if not isinstance(device, str):
        return
    if device not in devices:
        yield f"expected devices of this file, found {device!r}"
    elif placed.setdefault(device, room) != room:
        yield f"expected each device in one room, {device!r} is also in {placed[device]!r}"
