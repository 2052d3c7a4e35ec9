"""A fake ThingsBoard on loopback, a client of it that does not wait, and a small site."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.centre.client import Rest
from agent.centre.wanted import Wanted, wanted
from agent.model import Device, Group, Kind, Point
from agent.supervise import Backoff
from agent.uplink.rest_options import RoomOptions
from tests.thingsboard_http.server import PASSWORD, USER, FakeThingsBoard

METER = Group(
    Device("main-meter", "eastron-sdm630", "Main meter"),
    "fast",
    (Point("voltage_l1", "V"), Point("active_power", "W"), Point("frequency", "Hz")),
    1000,
)
TOTALS = Group(METER.device, "slow", (Point("energy_import", "kWh", Kind.TOTAL),), 60_000)
AC = Group(
    Device("ac-101", "intesis-ac"),
    "state",
    (Point("on", "", Kind.STATE, {0: "off", 1: "on"}), Point("temperature_setpoint", "°C")),
    2000,
)
GROUPS = (METER, TOTALS, AC)
ROOM = RoomOptions(name="101", label="Sala 101", building="Bloco A", devices=["ac-101"])


def site(**more: Any) -> Wanted:
    return wanted("acme", more.pop("groups", GROUPS), **{"rooms": (ROOM,), "token": "T0KEN", **more})


@pytest.fixture
async def fake() -> AsyncIterator[FakeThingsBoard]:
    async with FakeThingsBoard.at() as fake:
        yield fake


class Waits(list[float]):
    """A sleep that is only written down."""

    async def __call__(self, wait_s: float) -> None:
        self.append(wait_s)


def client(fake: FakeThingsBoard, **more: Any) -> Rest:
    password = more.pop("password", lambda: PASSWORD)
    return Rest(
        fake.url, USER, password, **{"sleep": Waits(), "backoff": Backoff(0.5, 8.0), "timeout_s": 5.0, **more}
    )


@pytest.fixture
async def rest(fake: FakeThingsBoard) -> AsyncIterator[Rest]:
    async with client(fake) as rest:
        yield rest
