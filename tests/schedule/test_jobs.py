"""Jobs with a clock in our hands, a real file, and works that are plain functions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.model import Reading
from agent.schedule import Alert, Job, JobRefused, Jobs, Outcome, Result, Runs, Turn
from agent.schedule.jobs import RUNNING_MAX
from agent.schedule.runs import RUNS_PER_JOB_MAX
from agent.schedule.when import Every, Once, Schedule
from tests.conftest import until

START_S = 1_760_000_000.0


class Bench:
    """A clock, and a work that notes what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "jobs.db"
        self.now_s = START_S
        self.certain = True
        self.done: list[int] = []
        self.go = asyncio.Event()
        self.go.set()
        self.outcome = Outcome(Result.WELL, "done", 0.5, 12.0)
        self.alerts: list[Alert] = []
        self.readings: list[Reading] = []

    async def work(self, turn: Turn) -> Outcome:
        turn.progress(0.25, "begun")
        await self.go.wait()
        self.done.append(turn.due_ms)
        return self.outcome

    def job(self, name: str = "night", schedule: Schedule | None = None, missed: str = "once") -> Job:
        return Job(name, self.work, schedule or Every(3600), "every 3600 s", missed)  # type: ignore[arg-type]

    def jobs(self, *jobs: Job) -> Jobs:
        return Jobs(
            *(jobs or (self.job(),), self.file, self.readings.extend),
            alarm=self.alerts.append,
            now_s=lambda: self.now_s,
            certain=lambda: self.certain,
        )

    @asynccontextmanager
    async def running(self, *jobs: Job) -> AsyncIterator[Jobs]:
        async with self.jobs(*jobs) as found:
            task = asyncio.create_task(found.run())
            await asyncio.sleep(0)
            try:
                yield found
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def pass_s(self, jobs: Jobs, seconds: float) -> None:
        """Time goes by, and the jobs look at the clock."""
        self.now_s += seconds
        jobs.tick()
        jobs._poked.set()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def due(hours: int) -> int:
    """The full hours after the start, in ms."""
    return round((START_S // 3600 + hours) * 3_600_000)


async def test_it_runs_when_it_is_due_and_says_how_it_went(bench: Bench) -> None:
    async with bench.running() as jobs:
        bench.pass_s(jobs, 3600)
        await until(lambda: bench.done)
        await until(lambda: not jobs.status()[0]["running"])
        (status,) = jobs.status()
        assert bench.done == [due(1)]
        assert status["last"]["result"] == "well"
        assert status["last"]["memory_mb"] == 12.0
        assert status["next_ms"] == due(2)
        (run,) = await jobs.history("night")
        assert (run.due_ms, run.result, run.text) == (due(1), "well", "done")
    ids = bench.readings[-1].group.point_ids
    values = dict(zip(ids, bench.readings[-1].values, strict=True))
    assert values["job.night_runs"] == 1
    assert values["job.night_result"] == 1.0
    assert values["job.night_running"] == 0.0


async def test_nothing_is_due_at_the_first_start(bench: Bench) -> None:
    async with bench.running() as jobs:
        bench.pass_s(jobs, 1)
        await asyncio.sleep(0.05)
    assert bench.done == []


async def test_what_was_missed_while_the_agent_was_off_is_made_up_for_once(bench: Bench) -> None:
    async with bench.running():
        await asyncio.sleep(0)
    bench.now_s += 10 * 3600
    async with bench.running():
        await until(lambda: bench.done)
    assert bench.done == [due(10)]
    async with bench.running():
        await asyncio.sleep(0.05)
    assert bench.done == [due(10)]


async def test_or_one_by_one_where_that_is_wanted(bench: Bench) -> None:
    job = bench.job(missed="all")
    async with bench.running(job):
        await asyncio.sleep(0)
    bench.now_s += 3 * 3600
    async with bench.running(job):
        await until(lambda: len(bench.done) == 3)
    assert bench.done == [due(1), due(2), due(3)]


async def test_or_not_at_all(bench: Bench) -> None:
    job = bench.job(missed="skip")
    async with bench.running(job):
        await asyncio.sleep(0)
    bench.now_s += 10 * 3600 + 300
    async with bench.running(job) as jobs:
        await asyncio.sleep(0.05)
        assert bench.done == []
        bench.pass_s(jobs, 3600 - 300 - START_S % 3600 + 5)
        await until(lambda: bench.done)


async def test_once_runs_once_over_restarts(bench: Bench) -> None:
    from datetime import UTC, datetime

    job = bench.job(schedule=Once(datetime.fromtimestamp(START_S + 60, UTC), UTC))
    async with bench.running(job) as jobs:
        bench.pass_s(jobs, 61)
        await until(lambda: bench.done)
    for _ in range(2):
        async with bench.running(job):
            await asyncio.sleep(0.05)
    assert len(bench.done) == 1


async def test_a_changed_schedule_has_missed_nothing(bench: Bench) -> None:
    async with bench.running():
        await asyncio.sleep(0)
    bench.now_s += 10 * 3600
    changed = Job("night", bench.work, Every(1800), "every 1800 s")
    async with bench.running(changed):
        await asyncio.sleep(0.05)
    assert bench.done == []


async def test_nothing_is_scheduled_before_the_clock_is_trusted(bench: Bench) -> None:
    bench.certain, bench.now_s = False, 1000.0  # a box without a battery wakes in 1970
    async with bench.running() as jobs:
        bench.pass_s(jobs, 7200)
        await asyncio.sleep(0.05)
        assert bench.done == []
        bench.now_s, bench.certain = START_S, True
        bench.pass_s(jobs, 1)
        await asyncio.sleep(0.05)
        assert bench.done == []  # and fifty years were not missed
        bench.pass_s(jobs, 3600)
        await until(lambda: bench.done)
    assert bench.done == [due(1)]


async def test_a_run_in_the_future_is_forgotten(bench: Bench) -> None:
    bench.now_s += 4 * 365 * 86_400.0  # the clock was wrong then
    async with bench.running() as jobs:
        bench.pass_s(jobs, 3600)
        await until(lambda: bench.done)
    bench.done.clear()
    bench.now_s = START_S
    async with bench.running() as jobs:
        await asyncio.sleep(0.05)
        assert bench.done == []
        bench.pass_s(jobs, 3600)
        await until(lambda: bench.done)
    assert bench.done == [due(1)]


async def test_one_instance_at_a_time(bench: Bench) -> None:
    bench.go.clear()
    async with bench.running() as jobs:
        bench.pass_s(jobs, 3600)
        await until(lambda: jobs.status()[0]["running"])
        assert jobs.status()[0]["progress"] == 0.25
        with pytest.raises(JobRefused, match="running already"):
            jobs.run_now("night")
        bench.pass_s(jobs, 3600)
        bench.go.set()
        await until(lambda: not jobs.status()[0]["running"])
        assert bench.done == [due(1)]
        skipped, ran = await jobs.history("night")
    assert (skipped.result, skipped.due_ms, ran.result) == (Result.SKIPPED, due(2), Result.WELL)


async def test_few_run_at_once_and_all_have_their_turn(bench: Bench) -> None:
    bench.go.clear()
    many = [bench.job(f"job-{at}") for at in range(6)]
    async with bench.running(*many) as jobs:
        bench.pass_s(jobs, 3600)
        await until(lambda: sum(each["running"] for each in jobs.status()) == RUNNING_MAX)
        bench.go.set()
        await until(lambda: len(bench.done) == 6)


async def test_pause_outlives_a_restart_and_lets_what_is_due_pass(bench: Bench) -> None:
    async with bench.running() as jobs:
        jobs.pause("night")
    bench.now_s += 7200
    async with bench.running() as jobs:
        await asyncio.sleep(0.05)
        assert jobs.status()[0]["paused"]
        jobs.run_now("night")  # by hand it still runs
        await until(lambda: bench.done)
        bench.done.clear()
        jobs.resume("night")
        bench.pass_s(jobs, 1)
        await asyncio.sleep(0.05)
        assert bench.done == []
        bench.pass_s(jobs, 3600)
        await until(lambda: bench.done)


async def test_a_failure_raises_an_alarm_once_and_success_clears_it(bench: Bench) -> None:
    bench.outcome = Outcome(Result.FAILED, "no such meter")
    async with bench.running() as jobs:
        for _ in range(2):
            jobs.run_now("night")
            await until(lambda: not jobs.status()[0]["running"] and not jobs.status()[0]["waiting"])
        bench.outcome = Outcome(Result.WELL)
        jobs.run_now("night")
        await until(lambda: len(bench.alerts) == 3)
        assert jobs.status()[0]["failures"] == 2
    assert [alert.raised for alert in bench.alerts] == [True, True, False]
    assert bench.alerts[0].id == "job.night"
    assert "no such meter" in bench.alerts[0].detail


async def test_a_work_without_its_world_fails_and_nothing_else(bench: Bench) -> None:
    async def lost(turn: Turn) -> Outcome:
        raise FileNotFoundError("python is gone")

    async with bench.running(Job("lost", lost), bench.job()) as jobs:
        jobs.run_now("lost")
        bench.pass_s(jobs, 3600)
        await until(lambda: bench.done)
        await until(lambda: jobs.status()[0]["last"])
        assert jobs.status()[0]["last"]["text"] == "python is gone"


async def test_a_stop_interrupts_and_a_kill_shows_what_it_cut_off(bench: Bench) -> None:
    bench.go.clear()
    async with bench.running() as jobs:
        bench.pass_s(jobs, 3600)
        await until(lambda: jobs.status()[0]["running"])
        await jobs.history()  # it is written down that it has begun
        async with Runs(bench.file) as runs:
            (begun,) = await runs.history()
            assert begun.result == Result.RUNNING
            await runs.cut_off(bench.jobs()._now_ms())  # what the start after a kill does
            (cut,) = await runs.history()
            assert cut.result == Result.INTERRUPTED
    async with Runs(bench.file) as runs:
        (run,) = await runs.history()
    assert (run.result, run.text) == (Result.INTERRUPTED, "the agent stopped")
    bench.go.set()
    async with bench.running():
        await asyncio.sleep(0.05)
    assert bench.done == []  # it is not repeated


async def test_the_command_line_is_heard_through_the_file(bench: Bench) -> None:
    async with bench.running() as jobs:
        async with Runs(bench.file) as other:
            await other.wish("night", "run")
            await other.wish("night", "pause")
            await other.wish("nobody", "run")
            await other.wish("night", "dance")
        await until(lambda: bench.done and jobs.status()[0]["paused"])
        async with Runs(bench.file) as other:
            assert await other.take_wishes() == []


async def test_the_history_is_bounded(bench: Bench) -> None:
    async with bench.jobs() as jobs:
        state = jobs._state("night")
        for _ in range(RUNS_PER_JOB_MAX + 50):
            state.queue.append(1)
            jobs._end(state, jobs._begin(state), bench.outcome, 0.0)
        assert len(await jobs.history("night", 1000)) == RUNS_PER_JOB_MAX
        newest = await jobs.history("night", 2)
        assert newest[0].id == RUNS_PER_JOB_MAX + 50
        (older,) = await jobs.history("night", 1, before=newest[-1].id)
        assert older.id == newest[-1].id - 1


async def test_a_broken_file_is_moved_aside(bench: Bench) -> None:
    bench.file.write_bytes(b"no database" * 1000)
    async with bench.running() as jobs:
        bench.pass_s(jobs, 3600)
        await until(lambda: bench.done)
    assert list(bench.file.parent.glob("jobs.broken-*.db"))


async def test_an_unknown_job_is_said_with_the_known(bench: Bench) -> None:
    async with bench.jobs() as jobs:
        calls: list[Callable[[str], None]] = [jobs.run_now, jobs.pause, jobs.resume]
        for call in calls:
            with pytest.raises(JobRefused, match="nihgt: there is no such job; known: night"):
                call("nihgt")
