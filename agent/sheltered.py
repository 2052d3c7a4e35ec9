"""The agent where its disk lets it: in its data folder, or in memory while that takes no writes.

A disk that is full, read-only or failing at the start stops nothing: the service runs in a folder in memory,
bounded, and moves home as soon as the disk takes writes: its files at once, the readings beside its work. The
field (lines, commands) goes on meanwhile. A disk that starts to refuse under a running service is the store's
own matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from agent.config import Config
from agent.field import Field
from agent.notify import Notifier
from agent.service import Service, alone_in
from agent.store.joining import join
from agent.store.shelter import Shelter, refusal

log = logging.getLogger(__name__)

CHECK_S, CHECK_S_MAX = 30.0, 600.0
PATIENCE_S = 60.0
SIZE_MAX_MB, FREE_MIN_MB = 48, 16
LOCK_FILE = "agent.lock"
REFUSED = (
    "%s: readings, settings and users are in memory only (%s, readings up to %d MB) and are lost with the"
    " power; make room or mend the disk, the agent moves back by itself"
)


class Anywhere:
    """`run` returns when the service was told to stop. `check_s` apart the disk is asked again."""

    def __init__(
        self,
        config: Config,
        memory: Path | None = None,
        check_s: float = CHECK_S,
        *,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._check_s, self._wall_s = config, check_s, wall_s
        self._shelter = Shelter(config.data_dir, memory)
        self._failed = 0
        self.service: Service | None = None

    async def run(self) -> None:
        """OSError if there is no room in memory either, or another agent is at work."""
        async with Field(self._config, wall_s=self._wall_s) as field:
            while True:
                reason = await asyncio.to_thread(refusal, self._config.data_dir)
                if not reason and self._shelter.is_open:
                    with _stop_noticed() as stop:
                        async with _said_alive():
                            reason = await self._files_home(field)
                        if stop.is_set():
                            await field.leave()
                            return
                if not reason:
                    reason = await self._run_at_home(field)
                    if not reason:
                        return
                if not await self._run_sheltered(reason, field):
                    return

    async def _run_at_home(self, field: Field) -> str:
        """Until it is told to stop: ""; or why the disk refused after all, before everything was open."""
        service = Service(self._config, field)
        try:
            await self._serve(service, partial(self._readings_home, service))
        except OSError:
            field.pause()
            reason = await asyncio.to_thread(refusal, self._config.data_dir)
            if not reason:
                raise
            return reason
        return ""

    async def _run_sheltered(self, reason: str, field: Field) -> bool:
        """Whether it ended to move home."""
        with _held(self._config.data_dir / LOCK_FILE):
            await asyncio.to_thread(self._shelter.open)
            await field.move(self._shelter.folder)
            if not self._failed:
                log.critical(REFUSED, reason, self._shelter.folder, SIZE_MAX_MB)
            service = Service(_in_memory(self._config, self._shelter.folder, reason), field)
            await self._serve(service, partial(self._watch, service))
        return service.moves

    async def _serve(self, service: Service, beside: Callable[[], Awaitable[None]]) -> None:
        self.service = service
        await service.run(beside)

    async def _watch(self, service: Service) -> None:
        """Until the disk has room for all that is in memory."""
        wait_s = min(CHECK_S_MAX, self._check_s * 2**self._failed)
        while True:
            await asyncio.sleep(wait_s)
            if not await asyncio.to_thread(self._refused):
                service.move()
                return

    def _refused(self) -> str:
        try:
            return refusal(self._config.data_dir, self._shelter.size_bytes)
        except OSError as error:  # gone altogether: not the time to go home
            return str(error)

    async def _files_home(self, field: Field) -> str:
        """Why it could not be done, "" if it is. The field goes on meanwhile."""
        home = self._config.data_dir
        self._shelter.check_ours()
        try:
            with alone_in(home):
                await asyncio.to_thread(self._shelter.bring_back)
                await field.move(home)
        except OSError as error:
            log.warning("%s: what is in memory cannot be brought back yet: %s", home, error)
            self._failed += 1
            return str(error)
        self._failed = 0
        return ""

    async def _readings_home(self, service: Service) -> None:
        """Bring in what was taken in memory, beside what is taken now."""
        started_s, failed = time.monotonic(), 0
        while (source := self._shelter.readings) is not None:
            assert service.store is not None  # noqa: S101 - it runs
            try:
                self._shelter.check_ours()
                count = await join(source, service.store, self._config.options.store)
                await asyncio.to_thread(self._shelter.remove)
            except OSError as error:
                log.warning("the readings in memory cannot be brought home yet: %s", error)
                await asyncio.sleep(min(CHECK_S_MAX, self._check_s * 2**failed))
                failed += 1
            else:
                took_s = time.monotonic() - started_s
                text = "%s: takes writes again: %d readings came back from memory in %.1f s"
                log.info(text, self._config.data_dir, count, took_s)


async def run_anywhere(config: Config) -> None:
    """Run the agent until it is told to stop."""
    await Anywhere(config).run()


def _in_memory(config: Config, folder: Path, reason: str) -> Config:
    """`config` with all data in `folder`, less of it."""
    store = config.options.store
    bounds = {"size_max_mb": min(store.size_max_mb, SIZE_MAX_MB), "free_min_mb": FREE_MIN_MB}
    options = config.options.model_copy(update={"store": store.model_copy(update=bounds)})
    return config._replace(data_dir=folder, options=options, in_memory=reason)


@contextlib.contextmanager
def _held(lock: Path) -> Iterator[None]:
    """Keep others out of a data folder that cannot be written. OSError if one is at work there."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            opened = stack.enter_context(lock.open("rb"))
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OSError(f"{lock.parent}: another agent works here; stop it first") from error
        yield


@contextlib.asynccontextmanager
async def _said_alive() -> AsyncIterator[None]:
    """Tell the service manager to be patient: many files take longer than its watchdog waits."""
    notifier = Notifier()

    async def say() -> None:
        while True:
            notifier.send(WATCHDOG=1, EXTEND_TIMEOUT_USEC=int(PATIENCE_S * 1e6))
            await asyncio.sleep(PATIENCE_S / 12)

    saying = asyncio.create_task(say())
    try:
        yield
    finally:
        saying.cancel()
        await asyncio.wait([saying])


@contextlib.contextmanager
def _stop_noticed() -> Iterator[asyncio.Event]:
    """Between two services nobody else hears the signals."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    yield stop
