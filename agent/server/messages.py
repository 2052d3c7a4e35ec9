"""What is said on the WebSocket, as types: they validate what clients send, and docs/asyncapi.json is made
from them.

Times are Unix milliseconds; a request may also give ISO 8601 with an offset.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agent.server.live import PER_S, Mode
from agent.server.selection import EVERYTHING, PATTERN_CHARS_MAX, PATTERNS_MAX
from agent.server.times import TIME_MS_MAX

PROTOCOL = "uicps.v1"
VERSION = 1
PER_S_MAX = 20.0

Id = Annotated[str, Field(max_length=64)] | Annotated[int, Field(ge=-(2**53), le=2**53)]
Token = Annotated[str, Field(max_length=8192)]
Pattern = Annotated[str, Field(max_length=PATTERN_CHARS_MAX)]
Patterns = Annotated[list[Pattern], Field(min_length=1, max_length=PATTERNS_MAX)]
Instant = Annotated[int, Field(ge=0, le=TIME_MS_MAX)] | Annotated[str, Field(max_length=40)]
Aggregate = Literal["mean", "min", "max", "last", "count"]
Stream = Literal["commands", "alarms", "jobs"]


class Said(BaseModel):
    """What a client says: strict types, no unknown key."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class Auth(Said):
    """The access token (or API key) of a client that brought none with the handshake. Always the first."""

    type: Literal["auth"]
    id: Id | None = None
    token: Token


class TokenRefresh(Said):
    """Stay: with the refresh token (a fresh pair is answered), or with an access token had elsewhere."""

    type: Literal["token.refresh"]
    id: Id | None = None
    refresh_token: Token | None = None
    token: Token | None = None


class Subscribe(Said):
    """Live readings of some points. The same `id` again replaces the subscription."""

    type: Literal["subscribe"]
    id: Id = "live"
    points: Patterns = Field(default_factory=lambda: list(EVERYTHING))
    mode: Mode = "latest"
    per_s: Annotated[float, Field(ge=0.1, le=PER_S_MAX)] = PER_S


class Unsubscribe(Said):
    type: Literal["unsubscribe"]
    id: Id = "live"


class Ping(Said):
    type: Literal["ping"]
    id: Id | None = None


class History(Said):
    """The past of some points, `from` <= time < `to`: every reading, or one value a step."""

    type: Literal["history"]
    id: Id
    points: Patterns
    from_: Annotated[Instant, Field(alias="from")]
    to: Instant
    step_s: Annotated[float, Field(ge=1, le=366 * 86400)] | None = None
    aggregate: Aggregate = "mean"


class Cancel(Said):
    """No more of the history `id`."""

    type: Literal["cancel"]
    id: Id


class Order(Said):
    """Write a point, as a person does: a lease that ends by itself."""

    type: Literal["command"]
    id: Id
    point: Pattern
    value: float
    lease_s: float


class Release(Said):
    """End the lease that people have on a point."""

    type: Literal["release"]
    id: Id | None = None
    point: Pattern


class Follow(Said):
    """The commands, the alarms or the jobs: those there are now, then each that is new or changed."""

    type: Literal["follow"]
    id: Id | None = None
    stream: Stream


class Unfollow(Said):
    type: Literal["unfollow"]
    id: Id | None = None
    stream: Stream


Request = Annotated[
    Auth
    | TokenRefresh
    | Subscribe
    | Unsubscribe
    | Ping
    | History
    | Cancel
    | Order
    | Release
    | Follow
    | Unfollow,
    Field(discriminator="type"),
]
REQUESTS: TypeAdapter[Request] = TypeAdapter(Request)


class Answer(BaseModel):
    """What the server says."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class Welcome(Answer):
    """The token is good. `permissions` say what may be asked; `expires_in` is in seconds, null: never."""

    type: Literal["welcome"]
    version: Literal[1]
    time_ms: int
    user: str
    permissions: list[str]
    expires_in: int | None


class LiveReading(Answer):
    """Some values of one group at one instant; null: not available."""

    device: str
    group: str
    time_ms: int
    quality: Literal["good", "uncertain", "bad"]
    values: dict[str, float | None]


class Readings(Answer):
    """Of the subscription `id`. `image`: what is known now, the first message after `subscribed`."""

    type: Literal["readings"]
    id: Id
    image: bool = False
    readings: list[LiveReading]


class Subscribed(Answer):
    """`count` is how many points the patterns mean now."""

    type: Literal["subscribed"]
    id: Id
    points: list[str]
    mode: Mode
    per_s: float | None
    count: int


class Unsubscribed(Answer):
    type: Literal["unsubscribed"]
    id: Id


class Pong(Answer):
    type: Literal["pong"]
    id: Id | None = None
    time_ms: int


class Chunk(Answer):
    """A part of a history: of one group, column by column. `quality` (2 good, 1 uncertain, 0 bad) is of
    readings, not of steps; `time_ms` of a step is its beginning."""

    type: Literal["history"]
    id: Id
    device: str
    group: str
    time_ms: list[int]
    quality: list[int] | None = None
    values: dict[str, list[float | None]]


class ChunksEnd(Answer):
    """The last message of a history; `count` is how many values there were."""

    type: Literal["history.end"]
    id: Id
    count: int


class CommandNews(Answer):
    """What became of a command. `left_s`: until the lease ends."""

    command: int
    point: str
    value: float
    priority: str
    source: str
    state: Literal["accepted", "outranked", "written", "failed", "replaced", "released", "expired"]
    reason: str
    submitted_ms: int
    left_s: float


class CommandState(CommandNews):
    """To who gave the command, with each change until it is over."""

    type: Literal["command"]
    id: Id


class CommandRefused(Answer):
    type: Literal["command"]
    id: Id
    state: Literal["refused"]
    reason: str


class Released(Answer):
    """`released`: whether there was a lease to end."""

    type: Literal["released"]
    id: Id | None = None
    point: str
    released: bool


class Commands(Answer):
    type: Literal["commands"]
    image: bool = False
    commands: list[CommandNews]


class Alarms(Answer):
    """Alarms as `GET /api/v1/alarms` has them."""

    type: Literal["alarms"]
    image: bool = False
    alarms: list[dict[str, Any]]


class JobsNews(Answer):
    """Jobs as `GET /api/v1/jobs` has them; of a run that is under way a few times a minute."""

    type: Literal["jobs"]
    image: bool = False
    jobs: list[dict[str, Any]]


class Following(Answer):
    """Which streams this client follows now."""

    type: Literal["following"]
    id: Id | None = None
    streams: list[Stream]


class TokenExpiring(Answer):
    """The access token ends in so many seconds (or has, 0): renew it with `token.refresh`."""

    type: Literal["token.expiring"]
    expires_in: int


class TokenRefreshed(Answer):
    """The stream goes on. With a fresh pair, if the refresh token was sent."""

    type: Literal["token.refreshed"]
    id: Id | None = None
    expires_in: int | None
    access_token: str | None = None
    refresh_token: str | None = None


class Error(Answer):
    """To the message `id` (null: it had none, or could not be read). The stream goes on."""

    type: Literal["error"]
    id: Id | None
    code: str
    message: str


ANSWERS: tuple[type[Answer], ...] = (
    Welcome,
    Subscribed,
    Readings,
    Unsubscribed,
    Chunk,
    ChunksEnd,
    CommandState,
    CommandRefused,
    Released,
    Commands,
    Alarms,
    JobsNews,
    Following,
    TokenExpiring,
    TokenRefreshed,
    Pong,
    Error,
)


class Unreadable(ValueError):  # noqa: N818 - says what it is
    """What was said is no request; `code` as in an error message, the text says what was expected."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def parsed(said: object) -> Request:
    """`said` as a request, or Unreadable."""
    if not isinstance(said, dict) or not isinstance(said.get("type"), str):
        raise Unreadable("invalid_message", 'expected a JSON object with a "type"')
    try:
        return REQUESTS.validate_python(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "union_tag_invalid":
        known, found = first["ctx"]["expected_tags"], said["type"][:64]
        raise Unreadable("unknown_type", f'expected one of {known}, found "{found}"')
    place = ".".join(str(each) for each in first["loc"][1:])
    raise Unreadable("invalid_message", f"{place}: {first['msg']}")
