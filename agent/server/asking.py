"""Requests as types: parameters of the URL and JSON bodies, checked by the models that the API's
description is made from. What cannot be meant is refused with 400, and the text says what was expected."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, TypeVar

import orjson
from aiohttp import web
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails

from agent.server.replies import Refused
from agent.server.times import iso, time_ms

DEPTH_MAX = 8


class Query(BaseModel):
    """Base of the parameters of a route: texts, as a URL has them."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


class Body(BaseModel):
    """Base of the bodies of routes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


class Keys(BaseModel):
    """Base of bodies with keys of a TOML table, which are judged when the file is tried with them."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _as_toml(cls, said: object) -> object:
        _toml_can_say(said)
        return said


def _toml_can_say(value: object, depth: int = 0) -> None:
    """ValueError if TOML has no such thing, or only a joker would write it."""
    if value is None:
        raise ValueError("TOML has no null: leave the key out")
    if depth > DEPTH_MAX:
        raise ValueError(f"expected tables and lists at most {DEPTH_MAX} deep")
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _toml_can_say(each, depth + 1)


def _instant(text: str) -> str:
    time_ms(text)
    return text


Instant = Annotated[
    str,
    Field(max_length=40),
    AfterValidator(_instant),
    WithJsonSchema({"type": "string", "description": "Unix milliseconds, or ISO 8601 with an offset or Z"}),
]

Model = TypeVar("Model", bound=BaseModel)


def query(request: web.Request, model: type[Model]) -> Model:
    """The parameters of the URL as a `model`; one given twice is joined with commas."""
    known = [field.alias or name for name, field in model.model_fields.items()]
    for name in request.query:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f', did you mean "{near[0]}"?' if near else f"; known: {', '.join(known) or 'none'}"
            raise Refused(400, "invalid_request", f'unknown parameter "{name[:64]}"{hint}')
    given = {name: ",".join(request.query.getall(name)) for name in request.query}
    return _validated(model, given)


async def body(request: web.Request, model: type[Model]) -> Model:
    """The JSON body as a `model`."""
    try:
        said = orjson.loads(await request.read() or b"{}")
    except ValueError:
        raise Refused(400, "invalid_request", "expected a body of JSON") from None
    return _validated(model, said)


def _validated(model: type[Model], given: Any) -> Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    code = (
        "invalid_time" if first["type"] == "value_error" and first["loc"][-1:] in (("from",), ("to",)) else ""
    )
    raise Refused(400, code or "invalid_request", _text(first))


def _text(error: ErrorDetails) -> str:
    place = ".".join(str(each) for each in error["loc"])
    text = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
    return f"{place}: {text}" if place else text


def period(from_: str | None, to: str | None, now_ms: int, length_ms: int) -> tuple[int, int]:
    """`from` <= time < `to`; left out: now, and `length_ms` before `to`."""
    to_ms = now_ms if to is None else time_ms(to)
    from_ms = max(0, to_ms - length_ms) if from_ is None else time_ms(from_)
    if from_ms >= to_ms:
        raise Refused(400, "invalid_period", f"expected from < to, found {iso(from_ms)} and {iso(to_ms)}")
    return from_ms, to_ms
