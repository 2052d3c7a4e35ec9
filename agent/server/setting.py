"""The configuration by REST: `/api/v1/config/lines`, `/api/v1/config/devices`, `/api/v1/config/site`.

Every answer carries the ETag of the whole file; a change must name the one it has seen in If-Match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Annotated, Any

from aiohttp import hdrs, web
from pydantic import ConfigDict, Field

from agent.schema import FaultyFile
from agent.server.asking import Body, body
from agent.server.identity.gate import CALLER
from agent.server.orders import Note
from agent.server.parts import Configuration, Document, Stale
from agent.server.replies import Refused, json_reply

Table = MutableMapping[str, Any]
FAULTS_MAX = 20


class LineChange(Body):
    """The keys of a `[[line]]` but `name`, as in the configuration file; `device` for a new one only."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    driver: Annotated[str, Field(max_length=64)]


class DeviceChange(Body):
    """`line`: which line it is on. The rest: the keys of a `[[line.device]]` but `name`."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    line: Annotated[str, Field(max_length=64)]
    profile: Annotated[str, Field(max_length=64)]


class Setting:
    """Handlers."""

    def __init__(self, configuration: Configuration | None, note: Note) -> None:
        self._configuration, self._note = configuration, note

    async def site(self, request: web.Request) -> web.Response:
        etag, document = await self._read()
        return _reply({"site": _plain(document.get("agent", {}))}, etag)

    async def lines(self, request: web.Request) -> web.Response:
        etag, document = await self._read()
        return _reply({"lines": [_plain(line) for line in _lines(document)]}, etag)

    async def devices(self, request: web.Request) -> web.Response:
        etag, document = await self._read()
        found = [_plain(device) | {"line": line["name"]} for line, device in _devices(document)]
        return _reply({"devices": found}, etag)

    async def put_line(self, request: web.Request) -> web.Response:
        """Make a line with its first devices, or exchange its keys; its devices stay."""
        asked, name = await body(request, LineChange), request.match_info["line"]
        wanted = {"name": name} | asked.model_dump()

        def edit(document: Document) -> None:
            line = next((each for each in _lines(document) if each.get("name") == name), None)
            if line is None:
                _append(document, "line", wanted)
            elif "device" in wanted:
                raise Refused(400, "invalid_request", "device: put each at /api/v1/config/devices")
            else:
                _exchange(line, wanted, keep=("device",))

        return await self._change(request, edit, "config.line", line=name, after=wanted)

    async def remove_line(self, request: web.Request) -> web.Response:
        name = request.match_info["line"]

        def edit(document: Document) -> None:
            _remove(_lines(document), name, "line")

        return await self._change(request, edit, "config.line", line=name, after=None)

    async def put_device(self, request: web.Request) -> web.Response:
        """Make a device, exchange its keys, or move it to another line."""
        asked, name = await body(request, DeviceChange), request.match_info["device"]
        wanted = {"name": name} | asked.model_dump(exclude={"line"})

        def edit(document: Document) -> None:
            target = next((each for each in _lines(document) if each.get("name") == asked.line), None)
            if target is None:
                raise Refused(404, "unknown_line", f'there is no line "{asked.line}"', kind="not_found")
            for line, device in list(_devices(document)):
                if device.get("name") == name and line.get("name") == asked.line:
                    _exchange(device, wanted)
                    return
                if device.get("name") == name:
                    _remove(line["device"], name, "device")
            _append(target, "device", wanted)

        return await self._change(
            request, edit, "config.device", device=name, after={**wanted, "line": asked.line}
        )

    async def remove_device(self, request: web.Request) -> web.Response:
        name = request.match_info["device"]

        def edit(document: Document) -> None:
            for line, device in list(_devices(document)):
                if device.get("name") == name:
                    _remove(line["device"], name, "device")
                    return
            raise Refused(404, "unknown_device", f'there is no device "{name[:64]}"', kind="not_found")

        return await self._change(request, edit, "config.device", device=name, after=None)

    # ---------------------------------------------------------------- the file

    async def _read(self) -> tuple[str, Document]:
        return await self._need().read()

    async def _change(
        self, request: web.Request, edit: Callable[[Document], None], kind: str, **what: Any
    ) -> web.Response:
        seen = [each.value for each in request.if_match or ()]
        if len(seen) != 1:
            text = "expected If-Match with the ETag of the configuration you have seen: GET it first"
            raise Refused(428, "precondition_required", text)
        _, before = await self._read()
        was = _state(before, what)
        try:
            etag, touched = await self._need().change(seen[0], edit)
        except Stale as stale:
            text = "the configuration was changed since: look at it again"
            raise Refused(412, "stale", text, {hdrs.ETAG: f'"{stale}"'}) from None
        except FaultyFile as faulty:
            text = "; ".join(str(each) for each in faulty.faults[:FAULTS_MAX])
            raise Refused(422, "faulty_configuration", text) from None
        self._note(kind, who=request[CALLER].label, peer=request.remote, before=was, **what, lines=touched)
        return _reply({"restarted": touched}, etag)

    def _need(self) -> Configuration:
        if self._configuration is None:
            raise Refused(503, "not_available", "this agent has no configuration file to change")
        return self._configuration


def _reply(data: dict[str, Any], etag: str) -> web.Response:
    return json_reply(data, headers={hdrs.ETAG: f'"{etag}"'})


def _lines(document: Document) -> list[Table]:
    """The `[[line]]` tables themselves, not copies."""
    found = document.get("line")
    return found if isinstance(found, list) else []


def _devices(document: Document) -> Iterator[tuple[Table, Table]]:
    """Every device with its line."""
    for line in _lines(document):
        for device in line.get("device", ()):
            yield line, device


def _append(table: Table, key: str, wanted: dict[str, Any]) -> None:
    if key not in table:
        table[key] = [wanted]  # tomlkit makes an array of tables of it
    else:
        table[key].append(wanted)


def _exchange(table: Table, wanted: dict[str, Any], keep: tuple[str, ...] = ()) -> None:
    """The keys of `wanted`; what is equal is not touched, nor the comments beside it."""
    for key in [key for key in table if key not in wanted and key not in keep]:
        del table[key]
    for key, value in wanted.items():
        if key not in table or _plain(table[key]) != value:
            table[key] = value


def _remove(tables: list[Table], name: str, noun: str) -> None:
    for at, table in enumerate(tables):
        if table.get("name") == name:
            del tables[at]
            return
    raise Refused(404, f"unknown_{noun}", f'there is no {noun} "{name[:64]}"', kind="not_found")


def _state(document: Document, what: dict[str, Any]) -> Any:
    """The table that `what` names, as it is."""
    if "line" in what:
        found = [each for each in _lines(document) if each.get("name") == what["line"]]
        return {key: each for key, each in _plain(found[0]).items() if key != "device"} if found else None
    own = [device for _, device in _devices(document) if device.get("name") == what["device"]]
    return _plain(own[0]) if own else None


def _plain(item: Any) -> Any:
    """Without tomlkit's knowledge of spaces and comments."""
    return item.unwrap() if hasattr(item, "unwrap") else item
