"""The agent's side of a plug-in's run: starts its process, answers what it asks, counts how much that is.

Rules.
1. What the process says is checked like anything that comes from outside; who says nonsense is stopped.
2. Every kind of question has a limit for a run. Who goes beyond it is stopped as flooding.
3. History goes out in frames of bounded size, at the pace at which it is read.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from agent.model import NAN
from agent.plugins.author import Refused, Seen
from agent.plugins.messages import (
    Ask,
    AskAlarm,
    AskHistory,
    AskLatest,
    AskPublish,
    AskSteps,
    AskSubmit,
    SayDone,
    SayProgress,
    understood,
)
from agent.plugins.outline import Option
from agent.schedule import frames
from agent.schedule.child import Limits, Process, Stopped, run_child
from agent.schedule.job import Outcome, Result, Turn, Work

ASKS_MAX = 20_000
HISTORY_ROWS_MAX = 20_000_000
MOST = {"publish": 1000, "alarm": 1000, "submit": 1000, "progress": 10_000}

_RESULTS = {"well": Result.WELL, "failed": Result.FAILED, "memory": Result.OUT_OF_MEMORY}


class Site(Protocol):
    """What a plug-in may learn and do, for one run. `Refused` says why not."""

    async def latest(self, point: str) -> Seen: ...

    def history(
        self, point: str, period_ms: tuple[int, int], step_ms: int
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        """As `rows` makes it of every reading (`step_ms` 0) or of steps."""
        ...

    def publish(self, at_ms: int | None, values: dict[str, float]) -> None: ...

    def alarm(self, name: str, *, raised: bool, detail: str, value: float) -> None: ...

    def submit(self, point: str, value: float, lease_s: float) -> None: ...


class Sites(Protocol):
    """A site for each run; `time_ms` is the instant that the run is for."""

    def at(self, time_ms: int) -> Site: ...


class Program(NamedTuple):
    """A plug-in's file and what it is started with."""

    file: Path
    options: dict[str, Option]
    zone: str
    limits: Limits


def plugin_work(program: Program, sites: Sites) -> Work:
    """One run of a plug-in as the work of a job."""

    async def work(turn: Turn) -> Outcome:
        async def converse(child: Process) -> Outcome:
            cpu_s = math.ceil(program.limits.time_s) + 1
            await _send(child, _start(program, cpu_s))
            return await one_run(child, turn, sites.at(turn.due_ms))

        return await run_child(ARGV, program.limits, converse, folder=program.file.parent)

    return work


ARGV = (sys.executable, "-m", "agent.plugins.child")


async def loaded(program: Program) -> Outcome:
    """Whether the file can be loaded; its function is not called."""

    async def converse(child: Process) -> Outcome:
        assert child.stdout  # noqa: S101 - it was asked for
        await _send(child, _start(program, None))
        await _send(child, {"now_ms": None})
        return _over(understood(await frames.receive(child.stdout)))

    return await run_child(ARGV, program.limits, converse, folder=program.file.parent)


def _over(ask: Ask) -> Outcome:
    if not isinstance(ask, SayDone):
        return Outcome(Result.FAILED, f"it asks for {ask.ask} before it is called")
    return Outcome(_RESULTS[ask.how], ask.text)


class Done(NamedTuple):
    """One of many runs, and the site that it had."""

    time_ms: int
    site: Site
    outcome: Outcome


async def many_runs(program: Program, sites: Sites, turns: Sequence[Turn]) -> AsyncGenerator[Done, None]:
    """One process for all of `turns`; each starts from the file anew. The limits hold for each run; one that
    has to be stopped is the last."""
    done: asyncio.Queue[Done | None] = asyncio.Queue(maxsize=1)
    now: list[tuple[Turn, Site]] = []

    async def converse(child: Process) -> Outcome:
        await _send(child, _start(program, None))
        for turn in turns:
            site = sites.at(turn.due_ms)
            now[:] = [(turn, site)]
            try:
                async with asyncio.timeout(program.limits.time_s):
                    outcome = await one_run(child, turn, site)
            except TimeoutError:
                raise Stopped(Result.TIMED_OUT, f"it took longer than {program.limits.time_s:g} s") from None
            await done.put(Done(turn.due_ms, site, outcome))
        return Outcome(Result.WELL)

    async def whole() -> None:
        limits = program.limits._replace(time_s=BACKTEST_S_MAX)
        outcome = await run_child(ARGV, limits, converse, folder=program.file.parent)
        if outcome.result is not Result.WELL and now:
            await done.put(Done(now[0][0].due_ms, now[0][1], outcome))
        await done.put(None)

    task = asyncio.ensure_future(whole())
    task.add_done_callback(lambda _: done.put_nowait(None) if done.empty() else None)  # if it failed
    try:
        while (each := await done.get()) is not None:
            yield each
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


BACKTEST_S_MAX = 24 * 3600.0


def _start(program: Program, cpu_s: int | None) -> dict[str, Any]:
    return {
        "file": str(program.file),
        "options": program.options,
        "zone": program.zone,
        "memory_mb": program.limits.memory_mb,
        "cpu_s": cpu_s,
        "parent": os.getpid(),
    }


async def _send(child: Process, head: dict[str, Any], body: bytes = b"") -> None:
    assert child.stdin  # noqa: S101 - it was asked for
    child.stdin.write(frames.packed(head, body))
    await child.stdin.drain()


async def one_run(child: Process, turn: Turn, site: Site) -> Outcome:
    """Ask for a run and answer what it asks, until it is over. Stopped: it has to go."""
    assert child.stdout  # noqa: S101 - it was asked for
    await _send(child, {"now_ms": turn.due_ms})
    answering = _Answering(child, turn, site)
    while True:
        try:
            ask = understood(await frames.receive(child.stdout))
        except frames.BadFrame as error:
            raise Stopped(Result.FAILED, f"it said something that is none of the messages: {error}") from None
        if isinstance(ask, SayDone):
            return Outcome(_RESULTS[ask.how], ask.text)
        await answering.answer(ask)
        await asyncio.sleep(0)  # a question that is buffered already would not let others run


class _Answering:
    """The answers of one run, counted."""

    def __init__(self, child: Process, turn: Turn, site: Site) -> None:
        self._child, self._turn, self._site = child, turn, site
        self._asks = self._rows = 0
        self._left = dict(MOST)

    async def answer(self, ask: Ask) -> None:
        self._count(ask.ask)
        try:
            if isinstance(ask, AskHistory | AskSteps):
                await self._history(ask)
            else:
                await _send(self._child, await self._do(ask))
        except Refused as refused:
            await _send(self._child, {"refused": str(refused)})

    def _count(self, kind: str) -> None:
        self._asks += 1
        if kind in self._left:
            self._left[kind] -= 1
        if self._asks > ASKS_MAX or self._left.get(kind, 0) < 0:
            most = MOST[kind] if self._left.get(kind, 0) < 0 else ASKS_MAX
            raise Stopped(Result.FLOODED, f"more than {most} times {kind} in one run")

    async def _do(self, ask: Ask) -> dict[str, Any]:
        if isinstance(ask, AskLatest):
            return (await self._site.latest(ask.point))._asdict()
        if isinstance(ask, AskPublish):
            self._site.publish(ask.at_ms, {name: _number(value) for name, value in ask.values.items()})
        elif isinstance(ask, AskAlarm):
            self._site.alarm(ask.name, raised=ask.raised, detail=ask.detail, value=_number(ask.value))
        elif isinstance(ask, AskSubmit):
            self._site.submit(ask.point, _number(ask.value), ask.lease_s)
        elif isinstance(ask, SayProgress):
            self._turn.progress(0.0 if ask.share is None else ask.share, ask.text)
        return {}

    async def _history(self, ask: AskHistory | AskSteps) -> None:
        """The rows in frames; the last one has none."""
        step_ms = ask.step_ms if isinstance(ask, AskSteps) else 0
        empty = True
        try:
            async with aclosing(self._site.history(ask.point, (ask.from_ms, ask.to_ms), step_ms)) as parts:
                async for count, body in parts:
                    await self._rows_out(count, body)
                    empty = False
        except OSError as error:
            if not empty:  # what was sent cannot be taken back
                raise Stopped(Result.FAILED, str(error)) from None
            raise Refused(str(error)) from None
        await _send(self._child, {"rows": 0, "more": False})

    async def _rows_out(self, count: int, body: bytes) -> None:
        self._rows += count
        if self._rows > HISTORY_ROWS_MAX:
            raise Stopped(Result.FLOODED, f"more than {HISTORY_ROWS_MAX} rows of history in one run")
        await _send(self._child, {"rows": count, "more": True}, body)


def _number(value: float | None) -> float:
    return NAN if value is None else value
