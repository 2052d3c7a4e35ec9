"""The configuration by REST: `/api/v1/config/lines`, `/api/v1/config/devices`, `/api/v1/config/site`.

Every answer carries the ETag of the whole file; a change must name the one it has seen in If-Match.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from aiohttp import hdrs, web
from pydantic import Field

from agent.server.asking import Body, Keys, body
from agent.server.identity.gate import CALLER
from agent.server.orders import Note
from agent.server.parts import Configuration, Document, Stale
from agent.server.places import confine
from agent.server.replies import Refused, json_reply
from agent.server.tables import append, devices_of, exchange, line_of, lines_of, plain, remove, unknown


class SiteChange(Body):
    """Keys of `[agent]`, as in the configuration file; what is left out stays. Paths and the site's name, by
    which the centre knows it, are set on the box."""

    timezone: Annotated[str, Field(max_length=64)] | None = None
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    log_format: Literal["text", "json"] | None = None
    trust_clock: Literal["synchronised", "always"] | None = None
    health_interval_s: float | None = None
    card_endurance_tb: float | None = None


class LineChange(Keys):
    """The keys of a `[[line]]` but `name`, as in the configuration file; `device` for a new one only."""

    driver: Annotated[str, Field(max_length=64)]


class DeviceChange(Keys):
    """`line`: which line it is on. The rest: the keys of a `[[line.device]]` but `name`."""

    line: Annotated[str, Field(max_length=64)]
    profile: Annotated[str, Field(max_length=64)]


class Setting:
    """Handlers."""

    def __init__(self, configuration: Configuration | None, note: Note) -> None:
        self._configuration, self._note = configuration, note

    async def site(self, request: web.Request) -> web.Response:
        etag, document = await self._read()
        return _reply({"site": plain(document.get("agent", {}))}, etag)

    async def change_site(self, request: web.Request) -> web.Response:
        """Change keys of `[agent]`; they hold from the next start of the agent on."""
        asked = (await body(request, SiteChange)).model_dump(exclude_none=True)

        def edit(document: Document) -> None:
            site = document["agent"]
            exchange(site, asked, keep=tuple(site))

        return await self._change(request, edit, "config.site", after=asked)

    async def lines(self, request: web.Request) -> web.Response:
        etag, document = await self._read()
        return _reply({"lines": [plain(line) for line in lines_of(document)]}, etag)

    async def devices(self, request: web.Request) -> web.Response:
        etag, document = await self._read()
        found = [plain(device) | {"line": line["name"]} for line, device in devices_of(document)]
        return _reply({"devices": found}, etag)

    async def put_line(self, request: web.Request) -> web.Response:
        """Make a line with its first devices, or exchange its keys; its devices stay."""
        asked, name = await body(request, LineChange), request.match_info["line"]
        wanted = {"name": name} | asked.model_dump()

        def edit(document: Document) -> None:
            line = line_of(document, name)
            confine(wanted, lines_of(document))
            if line is None:
                append(document, "line", wanted)
            elif "device" in wanted:
                raise Refused(400, "invalid_request", "device: put each at /api/v1/config/devices")
            else:
                exchange(line, wanted, keep=("device",))

        return await self._change(request, edit, "config.line", line=name, after=wanted)

    async def remove_line(self, request: web.Request) -> web.Response:
        name = request.match_info["line"]

        def edit(document: Document) -> None:
            remove(lines_of(document), name, "line")

        return await self._change(request, edit, "config.line", line=name, after=None)

    async def put_device(self, request: web.Request) -> web.Response:
        """Make a device, exchange its keys, or move it to another line."""
        asked, name = await body(request, DeviceChange), request.match_info["device"]
        wanted = {"name": name} | asked.model_dump(exclude={"line"})

        def edit(document: Document) -> None:
            target = line_of(document, asked.line)
            if target is None:
                raise unknown("line", asked.line)
            confine(wanted, lines_of(document))
            for line, device in list(devices_of(document)):
                if device.get("name") == name and line.get("name") == asked.line:
                    exchange(device, wanted)
                    return
                if device.get("name") == name:
                    remove(line["device"], name, "device")
            append(target, "device", wanted)

        return await self._change(
            request, edit, "config.device", device=name, after={**wanted, "line": asked.line}
        )

    async def remove_device(self, request: web.Request) -> web.Response:
        name = request.match_info["device"]

        def edit(document: Document) -> None:
            for line, device in list(devices_of(document)):
                if device.get("name") == name:
                    remove(line["device"], name, "device")
                    return
            raise unknown("device", name)

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
        self._note(kind, who=request[CALLER].label, peer=request.remote, before=was, **what, lines=touched)
        return _reply({"restarted": touched}, etag)

    def _need(self) -> Configuration:
        if self._configuration is None:
            raise Refused(503, "not_available", "this agent has no configuration file to change")
        return self._configuration


def _reply(data: dict[str, Any], etag: str) -> web.Response:
    return json_reply(data, headers={hdrs.ETAG: f'"{etag}"'})


def _state(document: Document, what: dict[str, Any]) -> Any:
    """The table that `what` names, as it is."""
    if "line" in what:
        line = line_of(document, what["line"])
        return None if line is None else {key: each for key, each in plain(line).items() if key != "device"}
    if "device" in what:
        own = [device for _, device in devices_of(document) if device.get("name") == what["device"]]
        return plain(own[0]) if own else None
    return {key: value for key, value in plain(document["agent"]).items() if key in what["after"]}
