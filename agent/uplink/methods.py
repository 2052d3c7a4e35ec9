"""The methods that the centre can call: read, write, status, rescan."""

from __future__ import annotations

import difflib
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from agent.dispatch import Dispatch, Priority, Refused
from agent.hub import Hub
from agent.schema import Options
from agent.uplink.rpc import CallError, Method

SETTLE_S_MAX = 20.0
LEASE_S = 3600.0

Submit = Callable[[str, float, str, float], Awaitable[Mapping[str, Any]]]
Status = Callable[[], Mapping[str, Any]]
Rescan = Callable[[Any], Awaitable[Mapping[str, Any]]]  # ValueError: why not


class _Read(Options):
    point: Annotated[str, Field(min_length=1, max_length=200)]


class _Write(_Read):
    value: float | bool
    lease_s: float = LEASE_S


_Params = TypeVar("_Params", bound=_Read)


def methods(hub: Hub, submit: Submit, status: Status, rescan: Rescan) -> dict[str, Method]:
    """What `Calls` answers."""

    async def read(device: str, params: Any) -> Any:
        asked = _params(_Read, {"point": params} if isinstance(params, str) else params)
        return read_point(hub, _id(device, asked.point))

    async def write(device: str, params: Any) -> Any:
        asked = _params(_Write, params)
        point = _id(device, asked.point)
        return {"point": point, **await submit(point, float(asked.value), "centre", asked.lease_s)}

    async def tell(device: str, params: Any) -> Any:
        return dict(status())

    async def scan(device: str, params: Any) -> Any:
        try:
            return dict(await rescan(params))
        except ValidationError as error:
            raise CallError(_words(error)) from error
        except ValueError as error:
            raise CallError(str(error)) from error

    return {
        "read": Method(read),
        "write": Method(write, once=True),
        "status": Method(tell),
        "rescan": Method(scan, once=True),
    }


def _params(model: type[_Params], params: Any) -> _Params:
    try:
        return model.model_validate(params)
    except ValidationError as error:
        raise CallError(_words(error)) from error


def _words(error: ValidationError) -> str:
    details = error.errors(include_url=False)
    words = [f"{'.'.join(map(str, each['loc'])) or 'params'}: {each['msg']}" for each in details]
    return "; ".join(words)[:500]


def _id(device: str, point: str) -> str:
    """A sub-device may be asked for its own points by their short names."""
    return point if not device or point.startswith(f"{device}.") else f"{device}.{point}"


def read_point(hub: Hub, point: str) -> Mapping[str, Any]:
    """The latest of a point: `value` is None while it is not available. CallError if there is none."""
    for group in hub.groups:
        for at, name in enumerate(group.point_ids):
            if name != point:
                continue
            known: dict[str, Any] = {"point": point, "unit": group.points[at].unit}
            reading = hub.latest.get(group)
            if reading is None:
                return known | {"value": None, "quality": "bad"}
            value = reading.values[at]
            return known | {
                "value": value if math.isfinite(value) else None,
                "ts": reading.time_ms,
                "quality": reading.quality.name.lower(),
            }
    names = [name for group in hub.groups for name in group.point_ids]
    near = difflib.get_close_matches(point, names, n=1)
    raise CallError(f"{point}: no such point" + (f", did you mean {near[0]!r}?" if near else ""))


def through(dispatch: Dispatch) -> Submit:
    """`submit` by the one door for intentions, with the priority of the centre."""

    async def submit(point: str, value: float, source: str, lease_s: float) -> Mapping[str, Any]:
        try:
            command = dispatch.submit(point, value, Priority.CENTRE, source, lease_s)
        except Refused as refused:
            raise CallError(str(refused)) from refused
        settled = await dispatch.settled(command, SETTLE_S_MAX)
        outcome = {"command": settled.id, "state": settled.state.value, "value": settled.value}
        return outcome | ({"reason": settled.reason} if settled.reason else {})

    return submit
