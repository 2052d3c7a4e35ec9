"""A child process from its start to its certain end: time, memory and chatter limited from outside.

Rules.
1. However this is left, the child and all that it started are gone: it leads a session of its own, which
   is killed as a whole.
2. Nothing that the child does holds up the event loop: what it prints is read in small pieces, of which the
   last are kept; who prints more than PRINTED_BYTES_MAX is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agent.model import NAN
from agent.schedule.job import Outcome, Result
from agent.supervise import to_its_end

PRINTED_BYTES_MAX = 1024 * 1024
TAIL_CHARS = 1000
WATCH_S = 0.25
PIECE_BYTES = 16 * 1024
# What a limit on data pages does not count (shared memory, files) may be this much of what is resident.
SLACK_MB = 96

Process = asyncio.subprocess.Process
Converse = Callable[[Process], Awaitable[Outcome]]


class Limits(NamedTuple):
    """Of one run; `memory_mb` beyond what Python itself needs."""

    time_s: float
    memory_mb: int


class Stopped(Exception):  # noqa: N818 - says how it ended
    """The child has to go: `outcome` says why."""

    def __init__(self, result: Result, text: str) -> None:
        super().__init__(text)
        self.outcome = Outcome(result, text)


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Says that the process is gone. `Process.wait` would also wait for its pipes to end, which they never do
    when nobody reads what is left in them, or a stray grandchild holds them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=PIECE_BYTES, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


class _Seen:
    """What was seen of the child from outside."""

    def __init__(self) -> None:
        self.cpu_s = self.memory_mb = NAN
        self.tail = b""

    def look(self, process: int) -> float:
        """Memory that is resident now, in MB; NaN once it is gone."""
        try:
            folder = Path("/proc") / str(process)
            status = (folder / "status").read_text(encoding="ascii", errors="replace")
            fields = (
                (folder / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            )
        except OSError:
            return NAN
        lines = (line.partition(":") for line in status.splitlines())
        sizes = {key: value.split()[0] for key, _, value in lines if "kB" in value}
        if "VmHWM" not in sizes:
            return NAN
        self.cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        self.memory_mb = int(sizes["VmHWM"]) / 1024
        return int(sizes["VmRSS"]) / 1024

    def said(self) -> str:
        """The last lines that it printed."""
        return self.tail.decode(errors="replace").strip()[-TAIL_CHARS:]


async def run_child(
    argv: Sequence[str],
    limits: Limits,
    converse: Converse,
    *,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Outcome:
    """Run `argv`; `converse` has its standard output and input, and says how it went. OSError: no process.

    `Stopped` from `converse` ends it, as do the limits and an EOF that it did not expect
    (IncompleteReadError, ConnectionError). A run that failed says its last lines on standard error, too.
    """
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: _Protocol(loop),
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        cwd=folder,
        env=dict(_environment() if env is None else env),
    )
    process = Process(transport, protocol, loop)
    seen = _Seen()
    try:
        outcome = await _watched(process, limits, converse, seen)
    except* Stopped as group:
        outcome = _first(group).outcome
    finally:
        seen.look(process.pid)
        await to_its_end(_kill(transport, protocol))
    if outcome.result in (Result.FAILED, Result.DIED) and seen.said() and seen.said() not in outcome.text:
        outcome = outcome._replace(text="\n".join(filter(None, (outcome.text, seen.said()))))
    return outcome._replace(cpu_s=seen.cpu_s, memory_mb=seen.memory_mb)


def _first(group: BaseExceptionGroup[Stopped]) -> Stopped:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


async def _watched(process: Process, limits: Limits, converse: Converse, seen: _Seen) -> Outcome:
    assert process.stderr  # noqa: S101 - it was asked for
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(_watch(process.pid, limits.memory_mb, seen))
        printed = tasks.create_task(_listen(process.stderr, seen))
        try:
            async with asyncio.timeout(limits.time_s):
                outcome = await converse(process)
        except TimeoutError:
            text = f"it took longer than {limits.time_s:g} s"
            raise Stopped(Result.TIMED_OUT, text) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await process.wait()
                    await printed
            raise Stopped(*_of_death(process.returncode)) from None
        watch.cancel()
        printed.cancel()
    return outcome


def _of_death(code: int | None) -> tuple[Result, str]:
    if code is not None and code < 0:
        if -code == signal.SIGXCPU:
            return Result.TIMED_OUT, "it used all the processor time that it may"
        return Result.DIED, f"its process was ended by {signal.Signals(-code).name}"
    return Result.DIED, f"its process ended without a word (exit code {code})"


async def _watch(process: int, memory_mb_max: int, seen: _Seen) -> None:
    while True:
        if (resident_mb := seen.look(process)) > memory_mb_max + SLACK_MB:
            raise Stopped(Result.OUT_OF_MEMORY, f"{resident_mb:.0f} MB, it may use {memory_mb_max} MB")
        await asyncio.sleep(WATCH_S)


async def _listen(errors: asyncio.StreamReader, seen: _Seen) -> None:
    heard = 0
    while piece := await errors.read(PIECE_BYTES):
        heard += len(piece)
        seen.tail = (seen.tail + piece)[-4 * TAIL_CHARS :]
        if heard > PRINTED_BYTES_MAX:
            raise Stopped(Result.FLOODED, f"it printed more than {PRINTED_BYTES_MAX} bytes")
        await asyncio.sleep(0)  # what is buffered already would be read without letting others run


async def _kill(transport: asyncio.SubprocessTransport, protocol: _Protocol) -> None:
    """The whole session; SIGKILL cannot be refused, so it is over in a moment."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(transport.get_pid(), signal.SIGKILL)
    await protocol.exited.wait()
    transport.close()


def _environment() -> dict[str, str]:
    """What a child needs of ours; nobody's secret is in it. One thread: the other cores are the agent's."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "VIRTUAL_ENV", "PYTHONPATH", "UICPS_BOOT_ID")
    found = {key: os.environ[key] for key in kept if key in os.environ}
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    return found | threads | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
