"""What a plug-in's process may say to the agent. Whatever else comes is a fault of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agent.schedule.frames import BadFrame

TIME_MS_MAX = 2**53
PointId = Annotated[str, Field(min_length=3, max_length=200)]
Number = float | None  # null is NaN
Short = Annotated[str, Field(max_length=64)]
Time = Annotated[int, Field(ge=-TIME_MS_MAX, le=TIME_MS_MAX)]


class _Said(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


class AskLatest(_Said):
    ask: Literal["latest"]
    point: PointId


class AskHistory(_Said):
    """`from_ms` <= time < `to_ms`."""

    ask: Literal["history"]
    point: PointId
    from_ms: Time
    to_ms: Time


class AskSteps(_Said):
    ask: Literal["steps"]
    point: PointId
    from_ms: Time
    to_ms: Time
    step_ms: Annotated[int, Field(ge=1000, le=366 * 86_400_000)]


class AskPublish(_Said):
    """`at_ms` null: the instant of the run."""

    ask: Literal["publish"]
    at_ms: Time | None
    values: Annotated[dict[Short, Number], Field(min_length=1, max_length=100)]


class AskAlarm(_Said):
    ask: Literal["alarm"]
    name: Short
    raised: bool
    detail: Annotated[str, Field(max_length=300)]
    value: Number


class AskSubmit(_Said):
    ask: Literal["submit"]
    point: PointId
    value: Number
    lease_s: Annotated[float, Field(allow_inf_nan=False)]


class SayProgress(_Said):
    ask: Literal["progress"]
    share: Number
    text: Annotated[str, Field(max_length=200)]


class SayDone(_Said):
    """The run is over. `how`: well, failed (it raised) or memory."""

    ask: Literal["done"]
    how: Literal["well", "failed", "memory"]
    text: Annotated[str, Field(max_length=4000)]


Ask = Annotated[
    AskLatest | AskHistory | AskSteps | AskPublish | AskAlarm | AskSubmit | SayProgress | SayDone,
    Field(discriminator="ask"),
]
_ASK: TypeAdapter[Ask] = TypeAdapter(Ask)


def understood(head: bytes) -> Ask:
    """The question in `head`; BadFrame says what is wrong with it."""
    try:
        return _ASK.validate_json(head)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BadFrame(f"{place}: {first['msg']}") from None
