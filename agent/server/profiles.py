"""Profiles by REST: `/api/v1/profiles`, whole as TOML, and their points one by one.

An answer about one profile carries its ETag; a change names the one it has seen in If-Match, or
If-None-Match: * for a new one. What changes a built-in makes an own copy of it, which wins.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from aiohttp import hdrs, web
from pydantic import AfterValidator, Field

from agent.server.asking import Body, Keys, body
from agent.server.identity.gate import CALLER
from agent.server.orders import Note
from agent.server.parts import InUse, Profiles, Sheet, Stale
from agent.server.replies import Refused, json_reply
from agent.server.tables import append, exchange, plain, remove, unknown

TEXT_CHARS_MAX = 128 * 1024
LINE_CHARS_MAX = 2000


def _lines(text: str) -> str:
    """A key of TOML with ten thousand dots costs the parser seconds, and no key is longer than its line."""
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LINE_CHARS_MAX:
            raise ValueError(
                f"line {number}: expected at most {LINE_CHARS_MAX} characters, found {len(line)}"
            )
    return text


class ProfileText(Body):
    """The whole datasheet, as the file has it (docs/profiles.md)."""

    text: Annotated[str, Field(max_length=TEXT_CHARS_MAX), AfterValidator(_lines)]


class PointChange(Keys):
    """`group`: the group it is read with, which must be there. The rest: the keys of a point but `name`."""

    group: Annotated[str, Field(max_length=64)]


class ProfileRoutes:
    """Handlers."""

    def __init__(self, profiles: Profiles | None, note: Note) -> None:
        self._profiles, self._note = profiles, note

    async def all(self, request: web.Request) -> web.Response:
        return json_reply({"profiles": [_shown(each) for each in await self._need().all()]})

    async def one(self, request: web.Request) -> web.Response:
        sheet = await self._sheet(request)
        return json_reply(_shown(sheet) | {"text": sheet.text}, headers={hdrs.ETAG: f'"{sheet.etag}"'})

    async def put(self, request: web.Request) -> web.Response:
        """Make one, or exchange its text."""
        asked, name = await body(request, ProfileText), request.match_info["profile"]
        new = request.headers.get(hdrs.IF_NONE_MATCH) == "*"
        return await self._put(request, name, None if new else _seen(request), asked.text)

    async def remove(self, request: web.Request) -> web.Response:
        sheet, seen = await self._sheet(request), _seen(request)
        try:
            touched = await self._need().remove(sheet.name, seen)
        except ValueError as error:
            raise Refused(409, "built_in", str(error)) from None
        except InUse as used:
            raise Refused(409, "in_use", str(used)) from None
        except Stale as stale:
            raise _stale(stale) from None
        self._changed(request, sheet.name, sheet, None, touched)
        return json_reply({"restarted": touched})

    async def put_point(self, request: web.Request) -> web.Response:
        """Make a point, exchange its keys, or move it to another group."""
        asked, name = await body(request, PointChange), request.match_info["point"]
        sheet, seen = await self._sheet(request), _seen(request)
        document = await asyncio.to_thread(_parsed, sheet)  # a long one takes the parser a second
        _put_point(document, asked.group, {"name": name} | asked.model_dump(exclude={"group"}))
        return await self._put(request, sheet.name, seen, document.as_string())

    async def remove_point(self, request: web.Request) -> web.Response:
        sheet, seen = await self._sheet(request), _seen(request)
        document, name = await asyncio.to_thread(_parsed, sheet), request.match_info["point"]
        group = _group_with(document, name)
        if group is None:
            raise unknown("point", name)
        remove(group["point"], name, "point")
        if not group["point"]:
            document["group"].remove(group)
        return await self._put(request, sheet.name, seen, document.as_string())

    async def _put(self, request: web.Request, name: str, seen: str | None, text: str) -> web.Response:
        profiles = self._need()
        before = await profiles.find(name)
        try:
            sheet, touched = await profiles.put(name, seen, text)
        except Stale as stale:
            raise _stale(stale) from None
        self._changed(request, name, before, sheet, touched)
        return json_reply({"restarted": touched}, headers={hdrs.ETAG: f'"{sheet.etag}"'})

    def _changed(
        self, request: web.Request, name: str, before: Sheet | None, after: Sheet | None, touched: list[str]
    ) -> None:
        self._note(
            "config.profile",
            who=request[CALLER].label,
            peer=request.remote,
            profile=name,
            before=_brief(before),
            after=_brief(after),
            lines=touched,
        )

    async def _sheet(self, request: web.Request) -> Sheet:
        name = request.match_info["profile"]
        sheet = await self._need().find(name)
        if sheet is None:
            raise unknown("profile", name)
        return sheet

    def _need(self) -> Profiles:
        if self._profiles is None:
            raise Refused(503, "not_available", "this agent has no profiles to change")
        return self._profiles


def _seen(request: web.Request) -> str:
    seen = [each.value for each in request.if_match or ()]
    if len(seen) != 1:
        text = (
            "expected If-Match with the ETag of the profile you have seen, or If-None-Match: * for a new one"
        )
        raise Refused(428, "precondition_required", text)
    return seen[0]


def _stale(stale: Stale) -> Refused:
    if not str(stale):
        return Refused(412, "stale", "there is no profile of this name (any more): look again")
    headers: dict[str, str] = {hdrs.ETAG: f'"{stale}"'}
    return Refused(
        412, "stale", "the profile is there, and not as you have seen it: look at it again", headers
    )


def _shown(sheet: Sheet) -> dict[str, Any]:
    return {key: value for key, value in sheet._asdict().items() if key != "text"}


def _brief(sheet: Sheet | None) -> dict[str, Any] | None:
    """For the audit log: which text it was, not the text."""
    return None if sheet is None else {"etag": sheet.etag, "own": sheet.own, "points": len(sheet.points)}


def _parsed(sheet: Sheet) -> Any:
    import tomlkit  # noqa: PLC0415 - half a megabyte for who edits profiles
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        return tomlkit.parse(sheet.text)
    except (TOMLKitError, RecursionError) as error:
        raise Refused(422, "faulty_profile", f"{sheet.name}: expected TOML: {error}") from None


def _group_with(document: Any, point: str) -> Any:
    for group in document.get("group", ()):
        if any(each.get("name") == point for each in group.get("point", ())):
            return group
    return None


def _put_point(document: Any, group: str, wanted: dict[str, Any]) -> None:
    name = wanted["name"]
    target = next((each for each in document.get("group", ()) if each.get("name") == group), None)
    if target is None:
        raise unknown("group", group)
    old = _group_with(document, name)
    if old is target and old is not None:
        exchange(next(each for each in target["point"] if each.get("name") == name), wanted)
        return
    if old is not None:
        remove(old["point"], name, "point")
    points = target.get("point")
    if hasattr(points, "add_line"):  # an array of inline tables
        from tomlkit import inline_table  # noqa: PLC0415 - as above

        table = inline_table()
        table.update(plain(wanted))
        points.add_line(table, indent="  ")
    else:
        append(target, "point", wanted)
