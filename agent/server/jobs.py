"""Jobs by REST: `/api/v1/jobs`, what runs at its time, how it went, and a person's word on it.

Who runs, pauses or resumes one is in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from agent.schedule import JobRefused, Jobs
from agent.server.asking import Query, query
from agent.server.identity.gate import CALLER
from agent.server.orders import Note
from agent.server.replies import Refused, json_reply
from agent.server.shapes import Shape

LIMIT, LIMIT_MAX = 50, 200


class RunShape(Shape):
    """`ended_ms` null: under way. `result`: running, well, failed, timed out, out of memory, flooded, died,
    interrupted, skipped. `progress` 0 to 1."""

    id: int
    job: str
    due_ms: int
    started_ms: int
    ended_ms: int | None
    result: str
    text: str
    progress: float | None
    cpu_s: float | None
    memory_mb: float | None


class JobShape(Shape):
    """`next_ms` null: not by itself. `doing`: what a run that is under way says of itself."""

    name: str
    when: str
    missed: Literal["once", "all", "skip"]
    paused: bool
    running: bool
    waiting: int
    progress: float | None
    doing: str
    next_ms: int | None
    last: RunShape | None
    runs: int
    failures: int


class JobList(Shape):
    jobs: list[JobShape]


class RunList(Shape):
    runs: list[RunShape]
    next: int | None


class RunsQuery(Query):
    """Of the job `name`, or of all; numbers below `before`, `limit` at a time."""

    name: Annotated[str, Field(max_length=64)] = ""
    before: Annotated[int, Field(ge=0, le=2**53)] = 0
    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX)] = LIMIT


class JobRoutes:
    """Handlers. `jobs` None: there are none here."""

    def __init__(self, jobs: Jobs | None, note: Note) -> None:
        self._jobs, self._note = jobs, note

    async def all(self, request: web.Request) -> web.Response:
        return json_reply({"jobs": self._need().status()})

    async def history(self, request: web.Request) -> web.Response:
        """Runs, newest first, also those under way; `next` is the `before` of the page after them."""
        asked = query(request, RunsQuery)
        if asked.name:
            self._known(asked.name)
        try:
            runs = await self._need().history(asked.name, asked.limit, asked.before or None)
        except OSError as error:
            raise Refused(503, "storage_unavailable", str(error)) from None
        after = runs[-1].id if len(runs) == asked.limit else None
        return json_reply({"runs": [run._asdict() for run in runs], "next": after})

    async def run(self, request: web.Request) -> web.Response:
        """It begins as soon as there is room, also if it is paused."""
        return self._done(request, self._need().run_now)

    async def pause(self, request: web.Request) -> web.Response:
        return self._done(request, self._need().pause)

    async def resume(self, request: web.Request) -> web.Response:
        return self._done(request, self._need().resume)

    def _done(self, request: web.Request, do: Callable[[str], None]) -> web.Response:
        name = request.match_info["job"]
        self._known(name)
        try:
            do(name)
        except JobRefused as refused:
            raise Refused(409, "not_possible", str(refused)) from None
        kind = f"job.{request.path.rpartition('/')[2]}"
        self._note(kind, who=request[CALLER].label, peer=request.remote, job=name)
        return json_reply(self._known(name))

    def _known(self, name: str) -> dict[str, Any]:
        found = next((each for each in self._need().status() if each["name"] == name), None)
        if found is None:
            raise Refused(404, "not_found", "there is no job of this name", kind="not_found")
        return found

    def _need(self) -> Jobs:
        if self._jobs is None:
            raise Refused(503, "not_available", "this agent runs no jobs")
        return self._jobs
