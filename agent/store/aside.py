"""What needs numpy is done by a child, which ends when nobody has asked for a while: for the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.apart import Apart
from agent.supervise import to_its_end

CALL_S_MAX = 120.0  # the work of a chunk is a second at most, on a slow box at a bad time ten


class Aside:
    """One child for `file`, one call at a time; `idle_s` after the last it ends. `nice`: how far it stands
    back."""

    def __init__(self, file: Path, idle_s: float, nice: int = 0) -> None:
        self._apart, self._file, self._idle_s = Apart(CALL_S_MAX, nice=nice), file, idle_s
        self._one = asyncio.Lock()
        self._kept = 0
        self._resting: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    async def __call__(self, function: str, *given: Any) -> Any:
        """What `function` ("module:name", of this package) returns for the file and what is `given`, or its
        exception; OSError: no child, or none that answers."""
        answers: list[Any] = []
        name = f"agent.store.{function}"

        async def whole() -> None:
            answers.append(await asyncio.to_thread(self._apart, name, self._file, *given))

        async with self._one:
            self._wake()
            try:
                await to_its_end(whole())  # the child is the thread's until it is done
            finally:
                self._doze()
        return answers[0]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Inside, what the child remembers stays."""
        self._kept += 1
        try:
            yield
        finally:
            self._kept -= 1
            self._doze()

    def interrupt(self) -> None:
        """Who waits for the child waits no longer: what it was asked is an OSError."""
        self._apart.interrupt()

    async def close(self) -> None:
        """End the child; the next call starts another."""
        async with self._one:
            self._wake()
            await to_its_end(asyncio.to_thread(self._apart.rest))

    def _wake(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def _doze(self) -> None:
        self._wake()
        if not self._kept:
            self._resting = asyncio.get_running_loop().call_later(self._idle_s, self._end)

    def _end(self) -> None:
        self._resting = None
        self._ending = asyncio.ensure_future(self._end_idle())

    async def _end_idle(self) -> None:
        async with self._one:
            if self._resting is None and not self._kept:  # nobody has asked meanwhile
                await to_its_end(asyncio.to_thread(self._apart.rest))
