"""What a plug-in is handed: small typed objects that ask the agent, one question at a time.

A plug-in is a function that names what it needs among its parameters (`history`, `latest`, `publish`,
`alarm`, `submit`, `progress`, `now`); its other parameters are options with a default, which the
configuration may set.
This module is all that a plug-in's process loads of the agent: it stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:  # the agent loads this module too, and does without numpy
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

Function = TypeVar("Function", bound=Callable[..., object])

MARK = "uicps_plugin"


def plugin(
    *,
    publishes: Mapping[str, str] | None = None,
    alarms: Mapping[str, tuple[str, str]] | None = None,
) -> Callable[[Function], Function]:
    """Mark the one function of the file that the agent calls.

    `publishes`: names of what it publishes, each with its unit ("": none). `alarms`: names of the alarms that
    it raises, each with its text in Portuguese and in English. Both are literals: the agent reads them
    without running the file.
    """

    def mark(function: Function) -> Function:
        setattr(function, MARK, True)
        return function

    return mark


class Refused(Exception):  # noqa: N818 - says what became of the wish
    """The agent does not do what was asked; the text says why."""


class Seen(NamedTuple):
    """The newest value of a point; NaN (and 0) if none is available. `good`: it can be trusted."""

    value: float
    time_ms: int
    good: bool


class Series(NamedTuple):
    """n values of a point in the order of time; NaN: not available then. Times are Unix ms, UTC."""

    time_ms: Ints
    values: Floats


class Steps(NamedTuple):
    """n steps of a point that hold anything. `counts` is how many values a step has."""

    time_ms: Ints
    mean: Floats
    least: Floats
    most: Floats
    last: Floats
    counts: Ints


class Link(Protocol):
    """The way to the agent."""

    def ask(self, head: dict[str, Any]) -> dict[str, Any]: ...

    def columns(self, head: dict[str, Any], count: int) -> tuple[Ints, Floats]:
        """Times, and values with `count` columns."""


class Now(NamedTuple):
    """The instant that this run is for. In a back-test that is in the past."""

    time_ms: int
    zone: tzinfo

    @property
    def local(self) -> datetime:
        """On the site's wall clock."""
        return datetime.fromtimestamp(self.time_ms / 1000, self.zone)


class History:
    """`history("meter.active_power", hours=8)`: what was stored, up to the instant of the run."""

    def __init__(self, link: Link, now_ms: int) -> None:
        self._link, self._now_ms = link, now_ms

    def __call__(
        self, point: str, *, hours: float = 24.0, from_ms: int | None = None, to_ms: int | None = None
    ) -> Series:
        """Every reading of the last `hours`, or of `from_ms` <= time < `to_ms`."""
        head = {"ask": "history", "point": point, **self._period(hours, from_ms, to_ms)}
        times, values = self._link.columns(head, 1)
        return Series(times, values[:, 0])

    def steps(
        self,
        point: str,
        step_s: float,
        *,
        hours: float = 24.0,
        from_ms: int | None = None,
        to_ms: int | None = None,
    ) -> Steps:
        """The same in steps: far less to move, and what most analyses want."""
        step_ms = round(step_s * 1000)
        head = {"ask": "steps", "point": point, "step_ms": step_ms, **self._period(hours, from_ms, to_ms)}
        times, values = self._link.columns(head, 5)
        mean, least, most, last, counts = values.T
        return Steps(times, mean, least, most, last, counts.astype("int64"))

    def _period(self, hours: float, from_ms: int | None, to_ms: int | None) -> dict[str, int]:
        until_ms = self._now_ms if to_ms is None else min(to_ms, self._now_ms)
        start_ms = until_ms - round(hours * 3_600_000) if from_ms is None else from_ms
        return {"from_ms": start_ms, "to_ms": until_ms}


class Latest:
    """`latest("meter.active_power")`: the newest value. Refused: there is no such point."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def __call__(self, point: str) -> Seen:
        said = self._link.ask({"ask": "latest", "point": point})
        value = said["value"]
        return Seen(float("nan") if value is None else float(value), said["time_ms"], said["good"])


class Publish:
    """`publish(mean=312.0)`: readings of `analysis.<plug-in>_mean`, stored and forwarded like any other."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def __call__(self, *, at_ms: int | None = None, **values: float) -> None:
        """All that is given belongs to one instant: that of the run, or an earlier one."""
        numbers = {name: float(value) for name, value in values.items()}
        self._link.ask({"ask": "publish", "at_ms": at_ms, "values": numbers})


class Alarm:
    """`alarm("high", load_w > limit_w, f"{load_w:.0f} W")`: raises it, or clears it."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def __call__(self, name: str, raised: bool, detail: str = "", *, value: float = float("nan")) -> None:
        head = {"ask": "alarm", "name": name, "raised": bool(raised), "detail": str(detail)[:300]}
        self._link.ask({**head, "value": float(value)})


class Submit:
    """`submit("office.setpoint", 24.0, lease_s=900)`: wish for a value, below everyone else's wishes.

    Whoever stops renewing stops commanding: ask again before the lease ends. Refused says why not.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    def __call__(self, point: str, value: float, *, lease_s: float = 900.0) -> None:
        head = {"ask": "submit", "point": point, "value": float(value), "lease_s": float(lease_s)}
        self._link.ask(head)


class Progress:
    """`progress(0.4, "week 3")`: how far it is, 0 to 1."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def __call__(self, share: float, text: str = "") -> None:
        self._link.ask({"ask": "progress", "share": float(share), "text": str(text)[:200]})
