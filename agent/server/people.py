"""Users and API keys by REST. What is changed holds before it is answered."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from agent.server.asking import Body, body
from agent.server.identity.gate import CALLER
from agent.server.identity.keys import ApiKey, ApiKeyError
from agent.server.identity.permissions import Role
from agent.server.identity.users import NAME_CHARS_MAX, User, UserError
from agent.server.office import Office
from agent.server.replies import Refused, json_reply

Text = Annotated[str, Field(max_length=256)]


class NewUser(Body):
    name: Text
    password: Text
    role: Annotated[Role, Field(strict=False)] = Role.VIEWER


class UserChange(Body):
    """What is left out stays. `unlocked`: forget failed logins."""

    password: Text | None = None
    role: Annotated[Role | None, Field(strict=False)] = None
    disabled: bool | None = None
    unlocked: bool = False


class WantedKey(Body):
    name: Text
    scopes: Annotated[list[Text], Field(min_length=1, max_length=32)]
    days: Annotated[int, Field(ge=1, le=3650)] | None = None


class People:
    """Handlers."""

    def __init__(self, office: Office) -> None:
        self._office, self._note = office, office.audit.note
        self._changing = asyncio.Lock()  # or two admins who remove each other leave none

    async def users(self, request: web.Request) -> web.Response:
        return json_reply({"users": [_shown(each) for each in await self._office.users.list()]})

    async def add_user(self, request: web.Request) -> web.Response:
        asked = await body(request, NewUser)
        try:
            user = await self._office.users.add(asked.name, asked.password, asked.role)
        except UserError as error:
            raise Refused(409, "user_refused", str(error)) from None
        await self._changed("user.add", request, user=user.name, after=_shown(user))
        return json_reply(_shown(user), 201)

    async def change_user(self, request: web.Request) -> web.Response:
        asked = await body(request, UserChange)
        async with self._changing:
            before = await self._user(request)
            if asked.role not in (None, Role.ADMIN) or asked.disabled:
                await self._keep_an_admin(before)
            try:
                user = await self._exchange(before, asked)
            except UserError as error:
                raise Refused(409, "user_refused", str(error)) from None
        await self._changed(
            *("user.change", request),
            user=user.name,
            before=_shown(before),
            after=_shown(user),
            password=asked.password is not None,
        )
        return json_reply(_shown(user))

    async def _exchange(self, user: User, asked: UserChange) -> User:
        users = self._office.users
        if asked.password is not None:
            user = await users.set_password(user.name, asked.password)
        if asked.role is not None:
            user = await users.set_role(user.name, asked.role)
        if asked.unlocked:  # before `disabled`, as it enables too
            user = await users.unlock(user.name)
        if asked.disabled is not None:
            user = await users.set_disabled(user.name, asked.disabled)
        return user

    async def remove_user(self, request: web.Request) -> web.Response:
        async with self._changing:
            user = await self._user(request)
            await self._keep_an_admin(user)
            await self._office.users.remove(user.name)
        await self._changed("user.remove", request, user=user.name, before=_shown(user))
        return json_reply(_shown(user))

    async def _user(self, request: web.Request) -> User:
        name = request.match_info["name"]
        user = await self._office.users.find(name[: NAME_CHARS_MAX + 1])
        if user is None:
            raise Refused(
                404, "unknown_user", f'there is no user "{name[:NAME_CHARS_MAX]}"', kind="not_found"
            )
        return user

    async def _keep_an_admin(self, user: User) -> None:
        others = [each for each in await self._office.users.list() if each.name != user.name]
        if user.role is Role.ADMIN and not any(x.role is Role.ADMIN and not x.disabled for x in others):
            raise Refused(409, "last_admin", f"{user.name} is the last admin: make another one first")

    # ---------------------------------------------------------------- keys

    async def keys(self, request: web.Request) -> web.Response:
        return json_reply({"keys": [_shown_key(each) for each in await self._office.keys.list()]})

    async def add_key(self, request: web.Request) -> web.Response:
        asked = await body(request, WantedKey)
        try:
            key, text = await self._office.keys.add(
                asked.name, asked.scopes, request[CALLER].label, asked.days
            )
        except ApiKeyError as error:
            raise Refused(409, "key_refused", str(error)) from None
        await self._changed("key.add", request, key=key.name, after=_shown_key(key))
        return json_reply(_shown_key(key) | {"key": text}, 201)

    async def remove_key(self, request: web.Request) -> web.Response:
        try:
            key = await self._office.keys.revoke(request.match_info["key"])
        except ApiKeyError as error:
            raise Refused(404, "unknown_key", str(error), kind="not_found") from None
        await self._changed("key.revoke", request, key=key.name, before=_shown_key(key))
        return json_reply(_shown_key(key))

    async def _changed(self, kind: str, request: web.Request, **what: object) -> None:
        await self._office.standing.refresh()
        self._note(kind, who=request[CALLER].label, peer=request.remote, **what)


def _shown(user: User) -> dict[str, Any]:
    return {
        "name": user.name,
        "role": user.role.value,
        "disabled": user.disabled,
        "second_factor": user.second_factor,
    }


def _shown_key(key: ApiKey) -> dict[str, Any]:
    """All but the hash."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_by": key.created_by,
        "created_ms": key.created_ms,
        "expires_s": key.expires_s,
    }
