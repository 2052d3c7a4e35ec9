"""The shapes of answers, for the description of the API; tests hold the handlers to them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from agent.server.messages import CommandNews, LiveReading


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class Loose(BaseModel):
    """An object that may grow."""

    model_config = ConfigDict(extra="allow", defer_build=True)


class Fault(Shape):
    """Any refusal."""

    error: str
    error_description: str


class Health(Shape):
    status: Literal["ok"]


class Unhealthy(Shape):
    """It is not well, and why."""

    status: Literal["unhealthy"]
    reasons: list[str]


class Latest(Shape):
    readings: list[LiveReading]


class PointInfo(Shape):
    """`writable`: null if it is read only."""

    id: str
    device: str
    label: str
    type: str
    group: str
    point: str
    unit: str
    kind: Literal["gauge", "total", "state"]
    states: dict[str, str]
    interval_ms: int
    writable: dict[str, Any] | None


class Points(Shape):
    points: list[PointInfo]


class Command(CommandNews):
    pass


class Commands(Shape):
    """`live`: the leases there are. `ended`: the newest of those that are over, newest first."""

    live: list[Command]
    ended: list[Command]


class Released(Shape):
    point: str
    released: bool


class Taken(Shape):
    """How many readings it was: one for each group that was told of."""

    readings: int


class Alarms(Shape):
    alarms: list[dict[str, Any]]
    left_out: int


class AlarmEvents(Shape):
    events: list[dict[str, Any]]
    next: int | None


class LogLine(Shape):
    number: int
    time_ms: int
    level: str
    logger: str
    text: str


class Logs(Shape):
    """Newest last; `next` is the `after` of what comes."""

    lines: list[LogLine]
    next: int


class Version(Shape):
    version: str
    python: str
    platform: str


class Estimate(Shape):
    points: int
    values: int
    rows: int
    bytes: int


class Lines(Shape):
    lines: list[dict[str, Any]]


class Devices(Shape):
    devices: list[dict[str, Any]]


class Restarted(Shape):
    """`restarted`: the lines that were stopped, started, or both. No other noticed."""

    restarted: list[str]


class ProfileInfo(Shape):
    """`own`: of this site, not one that came with the agent. `devices`: those that use it. `fault`: why it
    cannot be read, empty if it can."""

    name: str
    etag: str
    own: bool
    driver: str
    title: str
    points: list[str]
    devices: list[str]
    fault: str


class ProfileList(Shape):
    profiles: list[ProfileInfo]


class Profile(ProfileInfo):
    """`text`: the TOML of its file."""

    text: str


class Port(Shape):
    """`line`: which line reads it, null if none."""

    port: str
    name: str
    line: str | None


class Ports(Shape):
    ports: list[Port]


class Scan(Shape):
    """`left_s`: about how long it will still take. `skipped`: hosts that a line talks to. `resting`: lines
    that rest meanwhile. `found`: as `uicps-agent scan --json`; `toml`: tables of a configuration for it."""

    id: int
    kind: Literal["tcp", "rtu"]
    where: str
    port: int
    pause: bool
    by: str
    state: Literal["running", "done", "cancelled", "failed"]
    started_ms: int
    ended_ms: int | None
    left_s: float
    asking: str
    reason: str
    skipped: dict[str, str]
    resting: list[str]
    found: list[dict[str, Any]]
    unread: dict[str, int]
    toml: str


class Scans(Shape):
    scans: list[Scan]


class Uplinks(Shape):
    uplinks: list[dict[str, Any]]


class LedgerRow(Shape):
    hour_ms: int
    device: str
    acquired: int
    delivered: dict[str, int]
    rejected: dict[str, int]
    discarded_sent: dict[str, int]
    discarded_unsent: dict[str, int]


class Ledger(Shape):
    rows: list[LedgerRow]


class ReportFile(Shape):
    """`begin`, `end`: local dates (with a time where it is not midnight), or a month and ""."""

    name: str
    kind: str
    subject: str
    begin: str
    end: str
    language: str
    format: Literal["html", "csv"]
    size_bytes: int
    made_ms: int


class ReportMaking(Shape):
    """`state`: waiting, running, made or failed; `progress`: 0 to 1, null if it is not known."""

    number: int
    kind: str
    language: str
    meter: str
    begin: str
    end: str
    month: str
    asked_by: str
    asked_ms: int
    state: Literal["waiting", "running", "made", "failed"]
    progress: float | None
    text: str


class ReportList(Shape):
    reports: list[ReportFile]
    making: list[ReportMaking]


class ReportDoor(Shape):
    url: str
    expires_s: float


class ReportRemoved(Shape):
    name: str
    removed: bool


class Entries(Shape):
    entries: list[dict[str, Any]]
    next: int | None
