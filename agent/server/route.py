"""One route: what answers it, who may ask, and the types of what is asked and answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aiohttp.typedefs import Handler
from pydantic import BaseModel

from agent.server.identity.permissions import Permission


class Route(NamedTuple):
    """`permission` None: no token is asked for; `basic`: but a name and a password. `answer`: the type of
    JSON, or a media type. `refuses`: the statuses of its own beside those that any route of its kind may
    answer, and what they mean; `others`: those whose body is of another shape than a refusal's."""

    method: str
    path: str
    permission: Permission | None
    handler: Handler
    summary: str
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | str | None = None
    status: int = 200
    refuses: Mapping[int, str] = {}
    others: Mapping[int, type[BaseModel]] = {}
    basic: bool = False
