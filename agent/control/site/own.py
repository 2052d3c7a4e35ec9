"""A controller of the site's own: a Python file with one class, in a process of its own, behind our guards.

Rules.
1. It is asked once a cycle and has `LIMIT_S` to answer. One that is late, fails or ends is killed and started
   again after a growing wait; meanwhile its room runs as if there were none.
2. It gets numbers and gives numbers; no secret and no device of ours is handed to it. It runs as our user: it
   is the site's own code, trusted as the configuration is.
3. Its wish goes through the ladder and the guards like any other: never off in occupied hours, hot rooms,
   hard ceilings, damp air, minimum times.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from agent.control.room import Outlook, OwnWish, RoomSeen
from agent.supervise import Backoff, Episode

log = logging.getLogger(__name__)

HOST = Path(__file__).with_name("own_host.py")
LIMIT_S = 2.0
START_S = 10.0
ANSWER_BYTES_MAX = 65_536
REASON_CHARS_MAX = 120
SETPOINTS_C = (5.0, 45.0)


class OwnController:
    """The class `name` in `file` for one room. `wish` each cycle; `close` at the end."""

    def __init__(
        self,
        room: str,
        file: Path,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        start_s: float = START_S,
    ) -> None:
        self._room, self._file, self._name, self._clock = room, file, name, clock
        self._start_s = start_s
        self._process: asyncio.subprocess.Process | None = None
        self._episode = Episode(log, f"own controller of {room} ({file})")
        self._backoff = Backoff(first_s=30.0, most_s=900.0)
        self._next_start_s = -math.inf
        self._fresh = False

    async def wish(self, now_ms: int, seen: RoomSeen, outlook: Outlook) -> OwnWish:
        """What it wants; a wish with a `fault` if it wants nothing that can be understood."""
        if self._process is None and self._clock() < self._next_start_s:
            return OwnWish(fault="waits for its next start")
        question = {"now_ms": now_ms, "room": self._room, "seen": asdict(seen), "outlook": asdict(outlook)}
        try:
            answer = await self._asked(question)
            wish = _understood(answer)
        except (OSError, ValueError, TypeError) as error:
            return await self._failed(str(error) or type(error).__name__)
        self._episode.ended()
        return wish

    async def _asked(self, question: Mapping[str, Any]) -> bytes:
        process = self._process or await self._start()
        if process.stdin is None or process.stdout is None:
            raise OSError("it has no pipes")
        limit_s, self._fresh = self._start_s if self._fresh else LIMIT_S, False
        try:
            async with asyncio.timeout(limit_s):
                process.stdin.write(orjson.dumps(question) + b"\n")
                await process.stdin.drain()
                answer = await process.stdout.readline()
        except TimeoutError:
            raise OSError(f"no answer in {limit_s:g} s") from None
        if not answer:
            raise OSError("it has ended, see its traceback above")
        return answer

    async def _start(self) -> asyncio.subprocess.Process:
        # The file itself, not the module: its process need not carry what this package imports. -P, or the
        # names beside that file would stand for those of the standard library.
        command = (sys.executable, "-P", str(HOST), str(self._file), self._name)
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=ANSWER_BYTES_MAX,
        )
        self._fresh = True
        return self._process

    async def _failed(self, reason: str) -> OwnWish:
        self._next_start_s = self._clock() + self._backoff.wait_s(self._episode.failures + 1)
        self._episode.failed(reason)
        await self.close()
        return OwnWish(fault=reason[:REASON_CHARS_MAX])

    async def close(self) -> None:
        """End its process."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _understood(answer: bytes) -> OwnWish:
    """ValueError says what was expected."""
    found = orjson.loads(answer)
    if not isinstance(found, dict) or not ({"on", "setpoint_c", "reason"} <= set(found) or "fault" in found):
        # What it writes past `print` lands among its answers.
        raise ValueError(f"expected an answer, found {answer[:40].decode(errors='replace').strip()!r}")
    if "fault" in found:
        raise ValueError(str(found["fault"]))
    setpoint_c, (low, high) = float(found["setpoint_c"]), SETPOINTS_C
    if not low <= setpoint_c <= high:
        raise ValueError(f"setpoint_c: expected {low:g} to {high:g}, found {setpoint_c:g}")
    return OwnWish(bool(found["on"]), setpoint_c, str(found["reason"])[:REASON_CHARS_MAX])
