"""Jobs by REST and WebSocket, with the real jobs and their file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.schedule import Job, Jobs, Outcome, Result, Turn
from agent.server import Parts, Role
from tests.conftest import until
from tests.server.conftest import Site, StartSite, ended
from tests.server.rest import admin


class Work:
    """Takes until it is told to go on."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, turn: Turn) -> Outcome:
        turn.progress(0.25, "a quarter")
        await self.go.wait()
        return Outcome(Result.WELL, "done", 0.5, 12.0)


@asynccontextmanager
async def running(work: Work, folder: Path) -> AsyncIterator[Jobs]:
    async with Jobs(
        [Job("night", work), Job("noon", work)], folder / "jobs.db", lambda readings: None
    ) as jobs:
        task = asyncio.create_task(jobs.run())
        try:
            yield jobs
        finally:
            await ended(task)


async def test_run_now_and_its_history(start: StartSite, tmp_path: Path) -> None:
    work = Work()
    async with running(work, tmp_path) as jobs:
        site = await start(parts=Parts(jobs=jobs))
        ask = await admin(site, Role.TECHNICIAN)
        assert [each["name"] for each in (await ask("GET", "/jobs"))["jobs"]] == ["night", "noon"]
        assert (await ask("POST", "/jobs/night/run"))["waiting"] == 1
        await until(lambda: jobs.status()[0]["running"])
        shown = (await ask("GET", "/jobs"))["jobs"][0]
        assert (shown["progress"], shown["doing"]) == (0.25, "a quarter")
        refused = await ask("POST", "/jobs/night/run", status=409)
        assert "it is running already" in refused["error_description"]
        work.go.set()
        await until(lambda: not jobs.status()[0]["running"])
        found = await ask("GET", "/jobs/history?name=night")
        assert [(run["result"], run["text"]) for run in found["runs"]] == [("well", "done")]
        assert found["next"] is None
        assert (await ask("GET", "/jobs/history?name=noon"))["runs"] == []
        assert [each.what["job"] for each in await site.audited("job.run")] == ["night"]


async def test_pause_outlives_and_resume(start: StartSite, tmp_path: Path) -> None:
    async with running(Work(), tmp_path) as jobs:
        ask = await admin(await start(parts=Parts(jobs=jobs)), Role.TECHNICIAN)
        assert (await ask("POST", "/jobs/noon/pause"))["paused"] is True
        assert (await ask("POST", "/jobs/noon/resume"))["paused"] is False


async def test_who_may_not_and_what_is_not_there(start: StartSite, tmp_path: Path) -> None:
    async with running(Work(), tmp_path) as jobs:
        site = await start(parts=Parts(jobs=jobs))
        viewer = await admin(site, Role.VIEWER)
        await viewer("GET", "/jobs")
        await viewer("POST", "/jobs/night/run", status=403)
        ask = await admin(site)
        await ask("POST", "/jobs/nigth/run", status=404)
        await ask("GET", "/jobs/history?name=nigth", status=404)
        await ask("GET", "/jobs/history?limit=0", status=400)


async def test_an_agent_without_jobs_says_so(start: StartSite) -> None:
    ask = await admin(await start())
    await ask("GET", "/jobs", status=503)


async def test_the_stream_begins_with_all_and_goes_on_with_changes(start: StartSite, tmp_path: Path) -> None:
    work = Work()
    async with running(work, tmp_path) as jobs:
        site: Site = await start(parts=Parts(jobs=jobs))
        async with site.http.ws_connect("/ws", headers=await site.bearer()) as socket:
            assert (await socket.receive_json(timeout=5))["type"] == "welcome"
            await socket.send_json({"type": "follow", "id": 1, "stream": "jobs"})
            assert (await socket.receive_json(timeout=5))["streams"] == ["jobs"]
            image = await socket.receive_json(timeout=5)
            assert (image["image"], len(image["jobs"])) == (True, 2)
            jobs.run_now("night")
            work.go.set()
            news = []
            while not news or news[-1]["last"] is None:
                news.append((await socket.receive_json(timeout=5))["jobs"][0])
            assert {each["name"] for each in news} == {"night"}
            assert any(each["running"] for each in news)
            assert (news[-1]["running"], news[-1]["last"]["result"]) == (False, "well")
            await socket.send_json({"type": "unfollow", "id": 2, "stream": "jobs"})
            assert (await socket.receive_json(timeout=5))["streams"] == []
