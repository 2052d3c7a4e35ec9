"""An export as the agent hears it: a child process, from its start to its certain end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
from collections.abc import AsyncGenerator
from typing import TypeAlias

from agent.export.order import UNREADABLE, Order
from agent.supervise import to_its_end

PIECE_BYTES = 256 * 1024
SAID_CHARS_MAX = 2000
COMMAND = (sys.executable, "-P", "-c", "from agent.export.child import main; main()")

Pieces: TypeAlias = AsyncGenerator[bytes, None]


class Unreadable(OSError):  # noqa: N818 - says how it is
    """The history cannot be read, for the reason `error`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"store: cannot read history: {text}")
        self.error = sqlite3.DatabaseError(text)
        self.error.sqlite_errorcode = code


async def pieces(order: Order) -> Pieces:
    """The file, in pieces of PIECE_BYTES at most, as fast as they are taken; close it, and the work ends.

    OSError: the history cannot be read (Unreadable), or there is no process to be had. RuntimeError: a bug.
    """
    process = await _started()
    try:
        await _told(process, order)
        assert process.stdout  # noqa: S101 - it was asked for
        while piece := await process.stdout.read(PIECE_BYTES):
            yield piece
        await _check(process)
    finally:
        await to_its_end(_ended(process))


async def _started() -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *COMMAND, stdin=pipe, stdout=pipe, stderr=pipe, limit=PIECE_BYTES, env=_environment()
    )


async def _told(process: asyncio.subprocess.Process, order: Order) -> None:
    assert process.stdin  # noqa: S101 - it was asked for
    # While the disk refuses this may be megabytes.
    process.stdin.write(await asyncio.to_thread(order.encoded))
    with contextlib.suppress(ConnectionError):  # it died: its exit code says why
        await process.stdin.drain()
    process.stdin.close()


async def _check(process: asyncio.subprocess.Process) -> None:
    assert process.stderr  # noqa: S101 - it was asked for
    said = (await process.stderr.read()).decode(errors="replace").strip()[-SAID_CHARS_MAX:]
    code = await process.wait()
    if code == UNREADABLE:
        number, _, text = said.partition(" ")
        raise Unreadable(int(number), text)
    if code:
        raise RuntimeError(f"export: its process ended with {code}: {said}")


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Killed, and its pipes emptied, without which it would not be waited for."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


def _environment() -> dict[str, str]:
    """What a child needs of ours; nobody's secret is in it. One thread: the other cores are the agent's."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONTZPATH")
    found = {key: os.environ[key] for key in kept if key in os.environ}
    return found | {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "PYTHONDONTWRITEBYTECODE": "1"}
