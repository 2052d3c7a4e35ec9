"""`[[alarm]]`: what a person writes about an alarm, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from agent.alarms.alarm import Priority
from agent.alarms.expression import parse
from agent.schema import Name, Options

DELAY_S_MAX = 86_400.0
ALARMS_MAX = 2000
OWN_DEVICES = (
    "agent",
    "analysis",
    "control",
    "job",
    "plugin",
)  # they publish points that no profile describes
LEVELS = ("high_high", "high", "low", "low_low")
EXTREMES = ("high_high", "low_low")

PointId = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\.[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=129)
]
DelayS = Annotated[float, Field(ge=0, le=DELAY_S_MAX)]
AnyPriority = Annotated[Priority, Field(strict=False)]


class RuleOptions(Options):
    """What every `[[alarm]]` has. `text_pt` and `text_en` are what people read, "": a text of ours."""

    name: Name
    priority: AnyPriority = Priority.MEDIUM
    on_delay_s: DelayS = 0.0
    off_delay_s: DelayS = 0.0
    suppressed_by: Annotated[list[str], Field(max_length=16)] = Field(default_factory=list)
    text_pt: Annotated[str, Field(max_length=200)] = ""
    text_en: Annotated[str, Field(max_length=200)] = ""

    @property
    def points(self) -> tuple[str, ...]:
        """The points it looks at."""
        raise NotImplementedError

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the alarms it makes."""
        return (self.name,)


class LimitRule(RuleOptions):
    """Above `high`, below `low`, and the outer limits; each is an alarm of its own: `name.high` and so on."""

    kind: Literal["limit"]
    point: PointId
    high_high: float | None = None
    high: float | None = None
    low: float | None = None
    low_low: float | None = None
    hysteresis: Annotated[float, Field(ge=0)] = 0.0
    extreme_priority: AnyPriority = Priority.HIGH  # of high_high and low_low

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        given = [value for level in reversed(LEVELS) if (value := getattr(self, level)) is not None]
        if not given:
            raise ValueError("expected at least one of high_high, high, low, low_low")
        if any(lower >= upper for lower, upper in pairwise(given)):
            raise ValueError("expected low_low < low < high < high_high")
        return self

    @property
    def points(self) -> tuple[str, ...]:
        return (self.point,)

    @property
    def limits(self) -> Mapping[str, float]:
        """The limits that are given, by their level."""
        return {level: value for level in LEVELS if (value := getattr(self, level)) is not None}

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"{self.name}.{level}" for level in self.limits)


class RateRule(RuleOptions):
    """The point rises (or falls, if `per_s` is below 0) faster than that, seen over `window_s`."""

    kind: Literal["rate"]
    point: PointId
    per_s: float
    window_s: Annotated[float, Field(ge=1, le=86_400)] = 60.0

    @field_validator("per_s")
    @classmethod
    def _is_a_change(cls, per_s: float) -> float:
        if not per_s:
            raise ValueError("expected a change per second other than 0: above 0 rising, below 0 falling")
        return per_s

    @property
    def points(self) -> tuple[str, ...]:
        return (self.point,)


class DeviationRule(RuleOptions):
    """Two points that should be alike differ by more than `most`."""

    kind: Literal["deviation"]
    point: PointId
    other: PointId
    most: Annotated[float, Field(gt=0)]
    hysteresis: Annotated[float, Field(ge=0)] = 0.0

    @property
    def points(self) -> tuple[str, ...]:
        return (self.point, self.other)


class StaleRule(RuleOptions):
    """Nothing good was heard of the point for `after_s`."""

    kind: Literal["stale"]
    point: PointId
    after_s: Annotated[float, Field(ge=1, le=DELAY_S_MAX * 31)]

    @property
    def points(self) -> tuple[str, ...]:
        return (self.point,)


class StateRule(RuleOptions):
    """The point is one of `states`."""

    kind: Literal["state"]
    point: PointId
    states: Annotated[list[Annotated[float, Field(strict=False)]], Field(min_length=1, max_length=64)]

    @property
    def points(self) -> tuple[str, ...]:
        return (self.point,)


class ExpressionRule(RuleOptions):
    """What `when` says is true."""

    kind: Literal["expression"]
    when: str

    @field_validator("when")
    @classmethod
    def _is_an_expression(cls, when: str) -> str:
        parse(when)
        return when

    @property
    def points(self) -> tuple[str, ...]:
        return parse(self.when).points


Rule = Annotated[
    LimitRule | RateRule | DeviationRule | StaleRule | StateRule | ExpressionRule,
    Field(discriminator="kind"),
]


def rule_faults(
    rules: list[Rule], points: Mapping[str, Collection[str]], path: str = "alarm"
) -> Iterator[tuple[str, str]]:
    """What is wrong with `rules` beside each other and the points of each device, as key path and text."""
    first: dict[str, int] = {}
    known = {each for rule in rules for each in rule.ids}
    for at, rule in enumerate(rules):
        if rule.name in first:
            yield (
                f"{path}[{at}].name",
                f"expected each alarm once, {rule.name!r} is also {path}[{first[rule.name]}]",
            )
        first.setdefault(rule.name, at)
        for point in rule.points:
            if text := _point_fault(point, points):
                yield f"{path}[{at}].{_key(rule, point)}", text
        for other in rule.suppressed_by:
            if other not in known and not other.startswith("agent."):
                yield (
                    f"{path}[{at}].suppressed_by",
                    f"expected the id of another alarm, found {other!r}{_of(known)}",
                )
            if other in rule.ids:
                yield f"{path}[{at}].suppressed_by", "expected another alarm than itself"


def _key(rule: Rule, point: str) -> str:
    """Where `rule` names `point`."""
    return next((key for key in ("point", "other") if getattr(rule, key, "") == point), "when")


def _point_fault(point: str, points: Mapping[str, Collection[str]]) -> str:
    device, _, name = point.partition(".")
    if device in OWN_DEVICES or name in points.get(device, ()):
        return ""
    if device in points:
        return f"expected a point of device {device}, found {name!r}{_of(points[device])}"
    return f"expected a point of a device of this file, found {point!r}{_of(points)}"


def _of(known: Iterable[str]) -> str:
    names = sorted(known)
    return f"; known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else ""
