"""`Jobs`: every job, when it runs next, and what became of its runs.

Rules.
1. One instance of a job at a time, RUNNING_MAX of all together: the rest of the box has work to do. What is
   due while its last run is under way is skipped, and said so.
2. Nothing is scheduled before the clock is trusted; "run now" always works.
3. A run that fails ends its job's alarm or begins it, and nothing else. Only a bug of the agent's gets out.
4. What a job was last due for is written down when its run begins: a kill repeats no run, and shows which
   one it cut off.
5. While the disk refuses, jobs go on; what is not written down waits, RUNS_WAITING_MAX runs of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.hub import Listener
from agent.model import NAN, Group, Reading
from agent.schedule.job import TEXT_CHARS_MAX, Alert, Job, Outcome, Result, Turn
from agent.schedule.runs import WISHES, Run, Runs, Standing
from agent.schedule.state import JobState, known
from agent.schedule.when import GRACE_MS, Once, due_ms
from agent.supervise import Episode

log = logging.getLogger(__name__)

RUNNING_MAX = 2
TICK_S = 1.0
RUNS_WAITING_MAX = 1000
PROGRESS_S = 5.0


class JobRefused(Exception):  # noqa: N818 - an answer to the one who asked
    """What was asked of a job cannot be done; the text says why."""


class Jobs:
    """Entered to open `jobs.db`; keep `run` running. `now_s` is Unix time, `certain` whether it is right."""

    def __init__(
        self,
        jobs: Iterable[Job],
        file: Path,
        publish: Listener,
        *,
        alarm: Callable[[Alert], None] = lambda alert: None,
        now_s: Callable[[], float] = time.time,
        certain: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish, self._alarm = publish, alarm
        self._now_s, self._certain, self._monotonic = now_s, certain, monotonic
        self._states = {job.name: JobState(job) for job in jobs}
        self._runs = Runs(file)
        self._number = 0
        self._running = 0
        self._changed: set[str] = set()
        self._unwritten: dict[int, Run] = {}
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self._poked, self._dirty = asyncio.Event(), asyncio.Event()
        self._episode = Episode(log, "jobs")

    @property
    def groups(self) -> Sequence[Group]:
        """What is published: one group for each job, `job.<name>_...`."""
        return [state.group for state in self._states.values()]

    async def __aenter__(self) -> Self:
        """Bring back what is known of the jobs. OSError if the file cannot be had."""
        await self._runs.__aenter__()
        try:
            await self._bring_back()
        except BaseException:
            await self._runs.__aexit__(None, None, None)
            raise
        return self

    async def _bring_back(self) -> None:
        await self._runs.cut_off(self._now_ms())
        self._number = await self._runs.last_id()
        kept = await self._runs.standings()
        for name, state in self._states.items():
            state.last = await self._runs.last(name)
            if (known := kept.get(name)) is None:
                continue
            state.paused = known.paused
            if known.words == state.job.words:
                state.last_due_ms = known.last_due_ms

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._keep()
        except sqlite3.Error as fault:
            log.warning("jobs: %d runs are not written down: %s", len(self._unwritten), fault)
        await self._runs.__aexit__(kind, error, trace)

    # ---------------------------------------------------------------- asking

    def status(self) -> list[dict[str, Any]]:
        """Every job for JSON: when it runs, what it does now, how it went last."""
        return [state.as_json() for state in self._states.values()]

    def listen(self, listener: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Call `listener` with a job, as in `status`, when it changes; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def history(self, name: str = "", limit: int = 50, before: int | None = None) -> list[Run]:
        """Runs (of job `name`), newest first, those under way too; a page ends before the number `before`."""
        if name:
            self._state(name)
        with contextlib.suppress(sqlite3.Error):
            await self._keep()
        try:
            return await self._runs.history(name, limit, before)
        except sqlite3.Error as error:
            raise OSError(f"jobs: cannot read the history: {error}") from error

    def run_now(self, name: str) -> None:
        """Run it as soon as there is room, also if it is paused. JobRefused: it is at it already."""
        state = self._state(name)
        if state.active or state.queue:
            raise JobRefused(f"{name}: it is running already, or about to")
        state.queue.append(self._now_ms())
        self._poked.set()
        self._say(state)

    def pause(self, name: str) -> None:
        """Let what is due pass, until `resume`; a run that is under way goes on. Outlives a restart."""
        self._pause(self._state(name), paused=True)

    def resume(self, name: str) -> None:
        """Run again when it is due from now on."""
        self._pause(self._state(name), paused=False)

    def _pause(self, state: JobState, *, paused: bool) -> None:
        state.paused = paused
        self._note(state)
        self._say(state)

    def _state(self, name: str) -> JobState:
        if name not in self._states:
            known = ", ".join(self._states) or "none"
            raise JobRefused(f"{name}: there is no such job; known: {known}")
        return self._states[name]

    # ---------------------------------------------------------------- when

    async def run(self) -> None:
        """Run what is due, for ever. When it is cancelled, what is under way is ended."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_for_ever(), name="jobs keep")
            tasks.create_task(self._heed_wishes(), name="jobs wishes")
            while True:
                self.tick()
                for state in self._startable():
                    tasks.create_task(self._do(state, self._begin(state)), name=f"job {state.job.name}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self._poked.wait()
                self._poked.clear()

    def tick(self) -> None:
        """Put what is due by now into the queues."""
        if self._certain():
            now_ms = self._now_ms()
            for state in self._states.values():
                self._look(state, now_ms)

    def _look(self, state: JobState, now_ms: int) -> None:
        schedule = state.job.schedule
        if schedule is None:
            return
        if state.last_due_ms is None:  # its first time here: what was before it is none of its business
            state.last_due_ms = 0 if isinstance(schedule, Once) else now_ms
            self._note(state)
        elif state.last_due_ms > now_ms + GRACE_MS:
            log.warning("job %s: was last run in the future: the clock was wrong then", state.job.name)
            state.last_due_ms = now_ms
            self._note(state)
        if state.next_for != state.last_due_ms:
            state.next_for, state.next_ms = state.last_due_ms, schedule.after(state.last_due_ms)
        if state.next_ms is None or state.next_ms > now_ms:
            return
        found = due_ms(schedule, state.last_due_ms, now_ms, state.job.missed)
        state.last_due_ms = now_ms
        self._note(state)
        if not state.paused:
            self._queue(state, found)

    def _queue(self, state: JobState, found: Sequence[int]) -> None:
        if state.job.missed == "all":
            state.queue.extend(found)
        elif found and state.active:
            now_ms = self._now_ms()
            skipped = Run(self._next_number(), state.job.name, found[-1], now_ms, now_ms, Result.SKIPPED)
            self._put(skipped._replace(text="its last run was still under way"))
        elif found:
            state.queue.clear()
            state.queue.append(found[-1])

    def _startable(self) -> list[JobState]:
        waiting = [state for state in self._states.values() if state.queue and not state.active]
        return sorted(waiting, key=lambda state: state.queue[0])[: max(RUNNING_MAX - self._running, 0)]

    # ---------------------------------------------------------------- doing

    def _begin(self, state: JobState) -> Run:
        run = Run(
            self._next_number(), state.job.name, state.queue.popleft(), self._now_ms(), None, Result.RUNNING
        )
        self._running += 1
        state.active, state.progress, state.doing = run, NAN, ""
        self._put(run)
        self._tell(state)
        return run

    async def _do(self, state: JobState, run: Run) -> None:
        started_s = self._monotonic()
        outcome = Outcome(Result.INTERRUPTED, "the agent stopped")
        try:
            outcome = await state.job.work(Turn(run.due_ms, lambda share, text: self._on(state, share, text)))
        except OSError as error:
            outcome = Outcome(Result.FAILED, str(error) or repr(error))
        finally:
            self._end(state, run, outcome, self._monotonic() - started_s)

    def _end(self, state: JobState, run: Run, outcome: Outcome, took_s: float) -> None:
        ended_ms = run.started_ms + round(took_s * 1000)  # the clock may have been set meanwhile
        done = run._replace(
            ended_ms=ended_ms,
            result=outcome.result,
            text=outcome.text[:TEXT_CHARS_MAX],
            progress=known(state.progress),
            cpu_s=known(outcome.cpu_s),
            memory_mb=known(outcome.memory_mb),
        )
        state.active, state.last = None, done
        self._running -= 1
        self._put(done)
        if outcome.result is not Result.INTERRUPTED:
            state.count(outcome.result)
            self._judge(state, outcome)
            self._tell(state)
        self._poked.set()

    def _judge(self, state: JobState, outcome: Outcome) -> None:
        name, well = state.job.name, outcome.result is Result.WELL
        if well:
            state.episode.ended()
        else:
            state.episode.failed(f"{outcome.result}: {outcome.text}" if outcome.text else outcome.result)
        words = (f"Tarefa {name} falhou", f"Job {name} failed")
        self._alarm(
            Alert(f"job.{name}", not well, *words, f"{outcome.result}: {outcome.text}", source=f"job.{name}")
        )

    def _on(self, state: JobState, share: float, text: str) -> None:
        """A run says how far it is; told at most every PROGRESS_S."""
        state.progress, state.doing = min(max(share, 0.0), 1.0), text[:200]
        now_s = self._monotonic()
        if state.active and now_s - state.told_s >= PROGRESS_S:
            self._put(state.active._replace(progress=state.progress, text=state.doing))
            self._tell(state)

    def _tell(self, state: JobState) -> None:
        """Publish how the job is."""
        state.told_s = self._monotonic()
        self._publish([Reading(state.group, self._now_ms(), state.values())])
        self._say(state)

    def _say(self, state: JobState) -> None:
        for listener in tuple(self._listeners):
            listener(state.as_json())

    def _now_ms(self) -> int:
        return round(self._now_s() * 1000)

    # ---------------------------------------------------------------- keeping

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _put(self, run: Run) -> None:
        self._unwritten[run.id] = run
        while len(self._unwritten) > RUNS_WAITING_MAX:
            del self._unwritten[next(iter(self._unwritten))]
        self._dirty.set()

    def _note(self, state: JobState) -> None:
        self._changed.add(state.job.name)
        self._dirty.set()

    async def _keep_for_ever(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._keep()
                self._episode.ended()
            except sqlite3.Error as error:
                self._episode.failed(f"cannot write down what runs: {error}")
                self._dirty.set()
            await asyncio.sleep(TICK_S)

    async def _keep(self) -> None:
        changed, self._changed = self._changed, set()
        runs, self._unwritten = self._unwritten, {}
        states = {name: self._states[name] for name in changed}
        standings = {
            name: Standing(state.job.words, state.last_due_ms or 0, state.paused)
            for name, state in states.items()
        }
        try:
            if standings or runs:
                await self._runs.keep(standings, list(runs.values()))
        except sqlite3.Error:
            self._changed |= changed
            self._unwritten = {**runs, **self._unwritten}
            raise

    async def _heed_wishes(self) -> None:
        """What the command line asks for, through the file."""
        seen = -1
        while True:
            with contextlib.suppress(sqlite3.Error):  # `_keep_for_ever` tells of a disk that refuses
                if (version := await self._runs.version()) != seen:
                    seen = version
                    for name, what in await self._runs.take_wishes():
                        self._heed(name, what)
            await asyncio.sleep(TICK_S)

    def _heed(self, name: str, what: str) -> None:
        try:
            if what in WISHES:
                {"run": self.run_now, "pause": self.pause, "resume": self.resume}[what](name)
        except JobRefused as refused:
            log.info("job %s: %s was asked for: %s", name, what, refused)
