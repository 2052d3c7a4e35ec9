"""The server kept open: what ends it costs the door to the network for a while, and nothing else.

Rules. A port that is taken, a listening socket that has died and a bug in what serves are said once and tried
again with a growing wait, for ever: the meters are read, the rooms controlled and the readings delivered
meanwhile. Only a disk that takes no writes is raised at the first opening: it is everybody's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from agent.server.app import Server
from agent.store.shelter import refusal
from agent.supervise import Backoff, Episode, describe

log = logging.getLogger(__name__)


class Door:
    """`async with` it, then `run`. `make` gives a server that was not entered yet, its files in `folder`."""

    def __init__(
        self,
        make: Callable[[], Server],
        folder: Path,
        backoff: Backoff | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._make, self._folder, self._sleep = make, folder, sleep
        self._backoff = backoff or Backoff(first_s=1.0, most_s=30.0)
        self._episode = Episode(log, "server")
        self._server: Server | None = None
        self._reason = "not opened yet"
        self.url = ""

    async def __aenter__(self) -> Self:
        """Open it, if that can be now. OSError if the disk refuses."""
        try:
            self._server = await self._open()
        except OSError as error:
            if await asyncio.to_thread(refusal, self._folder):
                raise
            self._failed(error)
        except Exception as error:
            self._broke(error)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            await self._server.__aexit__(kind, error, trace)

    def announce(self) -> None:
        """What whoever installs this box must read; by itself at each later opening."""
        if self._server is not None:
            self._server.announce()

    def troubles(self) -> list[str]:
        """Why nobody is served; nothing while somebody is."""
        return [] if self._server is not None else [f"server: {self._reason}"]

    async def run(self) -> None:
        """Keep it open, for ever."""
        while True:
            try:
                if self._server is None:
                    self._server = await self._open()
                    self.announce()
                await self._serve(self._server)
            except OSError as error:
                self._failed(error)
            except Exception as error:
                self._broke(error)
            await self._sleep(self._backoff.wait_s(self._episode.failures))

    async def _open(self) -> Server:
        server = self._make()
        await server.__aenter__()
        self.url = server.url
        self._episode.ended()
        return server

    async def _serve(self, server: Server) -> None:
        """Until that fails; then it is closed."""
        try:
            await server.served()
        except Exception:
            self._server = None
            await server.__aexit__(None, None, None)
            raise

    def _broke(self, error: Exception) -> None:
        """A bug in serving, or files of a newer agent, must not end the reading of the meters."""
        if not self._episode.failures:
            log.error("server: it failed and is opened again", exc_info=error)
        self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._reason = describe(error)
        self._episode.failed(f"{self._reason}; all else goes on, it is tried again")
