"""schemathesis against the served description: no 5xx, and no answer that is not described."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from agent.config import Config, load
from agent.configuring import Configuring, Sheets
from agent.dispatch import Dispatch
from agent.drivers import open_line
from agent.hub import Hub
from agent.intake import Intake
from agent.lines import Lines
from agent.reporting import Reporting
from agent.reports.options import ReportsOptions
from agent.scanning import Scans
from agent.schedule import Job, Jobs, Outcome, Result, Turn
from agent.server import Parts
from tests.server.conftest import HVAC, METER, SENSOR, START_MS, Site, StartSite, ended, meter, sensor
from tests.server.rest import admin

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.failures import FailureGroup
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

EXAMPLES = 15
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
CONFIG = """
[agent]
site = "lab"
[[line]]
name = "one"
driver = "modbus-tcp"
host = "127.0.0.1"
port = 1
[[line.device]]
name = "meter"
profile = "eastron-sdm630"
[[line]]
name = "outside"
driver = "push"
[[line.device]]
name = "0"
profile = "weather-push"
"""


def fuzzed(url: str, headers: dict[str, str]) -> list[str]:
    """What is wrong; every route is called with what fits the description."""
    schema = schemathesis.openapi.from_url(f"{url}/api/openapi.json")
    return [each for result in schema.get_all_operations() for each in failures_of(result.ok(), url, headers)]


def failures_of(operation: Any, url: str, headers: dict[str, str]) -> list[str]:
    failures: list[str] = []
    etag = {"If-Match": '"x"'} if "/config/" in operation.path else {}
    etag |= {"If-None-Match": "*", "If-Match": '"x"'} if "/profiles/" in operation.path else {}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(case=operation.as_strategy())
    def call(case: Any) -> None:
        try:
            case.call_and_validate(base_url=url, headers=headers | etag, checks=CHECKS, timeout=20)
        except FailureGroup as group:
            failures.append(f"{case.method} {case.formatted_path}: {group.exceptions}")

    call()
    return failures


@asynccontextmanager
async def parts_of(file: Path) -> AsyncIterator[Parts]:
    """What the agent of the configuration `file` would have, of lines that run."""

    async def apply(config: Config) -> list[str]:
        return []

    async def register(groups: object) -> None: ...

    async def work(turn: Turn) -> Outcome:
        return Outcome(Result.WELL)

    config = load(file)
    lines = Lines(lambda *each: open_line(*each, file.parent), config.options.line, config.profiles)
    hub = Hub(lines.groups)
    lines.begin(hub.publish, hub, Dispatch(hub.groups, lines.write), register, lambda: None)
    running = asyncio.create_task(lines.run())
    change = (file, apply, asyncio.Lock())
    async with (
        Scans(lines, config.profile_dir, time.time) as scans,
        Jobs([Job("night", work)], file.parent / "jobs.db", lambda readings: None) as jobs,
    ):
        reports = Reporting(file, file.parent, ReportsOptions())  # nobody makes what is asked for
        yield Parts(None, Configuring(*change), Sheets(*change), Intake(lines.drivers), scans, jobs, reports)
    await ended(running)


async def test_nothing_breaks_it_and_nothing_is_undescribed(start: StartSite, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    await asyncio.to_thread(file.write_text, CONFIG)
    async with parts_of(file) as parts:
        await whole_api(await start(METER, SENSOR, HVAC, parts=parts))


async def whole_api(site: Site) -> None:
    site.publish(meter(START_MS - 1000), sensor(START_MS - 1000))
    site.tell("line:bus")
    ask = await admin(site)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        failures = await asyncio.to_thread(fuzzed, site.server.url, {"Authorization": f"Bearer {ask.token}"})
    assert failures == []
