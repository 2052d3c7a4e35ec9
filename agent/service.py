"""The composition root: the one place that knows all parts, read from top to bottom.

Two kinds of task. What talks to the outside (lines, uplinks) is supervised: an OSError restarts it
for ever. Anything else that fails is a bug: it ends the process with its traceback, and systemd
starts it again. The store is left last, after every task has ended, so its last commit has it all.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import resource
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.alarming import Alarming
from agent.alarms import Alarms
from agent.clock import since_boot_s
from agent.config import Config
from agent.drivers import Driver
from agent.field import Field
from agent.forwarding import Forwarding
from agent.health import Health
from agent.hub import Listener
from agent.lan import announcing, parts_of
from agent.lines import LINE_BACKOFF
from agent.notify import Notifier, Sign, Watchdog
from agent.reporting import Reporting
from agent.scanning import Scans
from agent.schedule import Jobs
from agent.scheduling import open_jobs
from agent.server import Door, Server
from agent.signs import Commits, Punctual
from agent.status_file import StatusFile
from agent.store import Store
from agent.supervise import Episode, supervise
from agent.timekeeping import Timekeeper
from agent.uplink import Uplink

if TYPE_CHECKING:
    from agent.control.site import SiteControl

log = logging.getLogger(__name__)

PART_S = 5.0  # what a child may have been asked is soon answered, or it hangs; the unit waits for 30 s


class Service:
    """The running agent. `run` returns after SIGTERM, SIGINT or `stop`."""

    def __init__(self, config: Config, field: Field | None = None) -> None:
        """`field` is one that is entered already, and stays when this service moves; else it has its own."""
        self._config, self._field = config, field
        self.store: Store | None = None
        self._reporting = Reporting(
            config.file, config.data_dir, config.options.reports, in_memory=bool(config.in_memory)
        )
        self._stopping = asyncio.Event()
        self._works: dict[str, Callable[[], Awaitable[None]]] = {}  # what is kept running, by name
        self._health: Health | None = None
        self._notifier = Notifier()
        self._door: Door | None = None
        self.moves = False

    @property
    def status(self) -> Mapping[str, Any]:
        """What `/api/v1/status` answers; empty before the start."""
        return self._health.status() if self._health else {}

    @property
    def url(self) -> str:
        """Where the page is; empty while it is not served."""
        return self._door.url if self._door and not self._door.troubles() else ""

    @property
    def field(self) -> Field:
        """What it serves; once it runs."""
        assert self._field is not None  # noqa: S101
        return self._field

    def stop(self) -> None:
        """End `run` in good order."""
        self._stopping.set()

    def move(self) -> None:
        """End `run` to be run again in another folder: process and field stay as they are."""
        self.moves = True
        self.stop()

    async def run(self, ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start everything, await `ready` beside it, and keep it running until told to stop.

        OSError if the store cannot be had. A server that cannot listen is tried again beside all else.
        """
        _on_signals(self.stop)
        _raise_file_limit()
        if self._field is not None:
            await self._run(self._field, ready)
            return
        async with Field(self._config) as self._field:
            await self._run(self._field, ready)

    async def _run(self, field: Field, ready: Callable[[], Awaitable[None]] | None) -> None:
        async with AsyncExitStack() as stack:
            stack.enter_context(alone_in(self._config.data_dir))
            store, publish = await self._keep(field, stack)
            forwarding = Forwarding(self._config, store)
            control = _control(self._config, field, publish)
            health = self._watch(field, store, publish, forwarding.uplinks, control)
            settings = await self._steer(field, control, stack)
            scans = Scans(field.lines, self._config.profile_dir, field.clock.now_s)
            await stack.enter_async_context(scans)
            await forwarding.let_talk(field, health.status, scans.rescan, settings)
            alarming = await self._alarm(field, publish, health, stack)
            jobs = await self._schedule(field, store, publish, alarming.alarms, stack)
            await self._serve(field, store, health, alarming, stack, scans=scans, jobs=jobs)
            await store.register(field.hub.groups)  # what was declared since
            self._announce(field)
            field.serve(publish, store.register, health.relist)
            self._works |= forwarding.works | {"field": field.run} | ({"ready": ready} if ready else {})
            await self._run_until_stopped(field, store, control)

    async def _keep(self, field: Field, stack: AsyncExitStack) -> tuple[Store, Listener]:
        """The log, and the way of a reading there and to everybody else."""
        folder, hub = self._config.data_dir, field.hub
        store = Store(folder / "readings.db", self._config.options.store, in_memory=self._config.in_memory)
        self.store = await stack.enter_async_context(store)
        stack.callback(hub.listen(store.append))
        await store.register(hub.groups)
        timekeeper = Timekeeper(field.clock, store, hub)
        await timekeeper.begin(go_on=folder not in field.stamped)
        field.stamped.add(folder)
        self._works |= {"store": store.run, "clock": timekeeper.run}
        return store, timekeeper.publish

    def _watch(
        self,
        field: Field,
        store: Store,
        publish: Listener,
        uplinks: Sequence[Uplink],
        control: SiteControl | None,
    ) -> Health:
        """How the agent does, said to people and to the service manager."""
        troubles = control.troubles if control else list[str]
        health = self._health = Health(
            *(publish, field.hub, store, field.lines.drivers, uplinks),
            interval_s=self._config.options.agent.health_interval_s,
            clock=field.clock,
            troubles=lambda: [*troubles(), *self._shut()],
            control=control.status if control else dict,
        )
        field.hub.declare(*health.groups)
        self._stay_alive(health, store, control)
        return health

    def _shut(self) -> list[str]:
        return self._door.troubles() if self._door else []

    def _stay_alive(self, health: Health, store: Store, control: SiteControl | None) -> None:
        """Let the service manager and whoever has a shell know that we are well, as long as we are."""
        signs: dict[str, Sign] = {
            "store": Commits(lambda: store.state),
            "loop": Punctual(lambda: health.lag_ms),
            "control": control.lifeless if control else str,
        }
        watchdog = Watchdog(self._notifier, signs, health.summary)
        status = partial(_status_file, StatusFile(health.status))
        self._works |= {"health": health.run, "watchdog": watchdog.run, "status": status}

    async def _steer(
        self, field: Field, control: SiteControl | None, stack: AsyncExitStack
    ) -> Mapping[str, Callable[[Any], None]]:
        """The rooms, if there are any; what a centre may set of them."""
        if control is None:
            return {}
        await stack.enter_async_context(control)
        field.hub.declare(*control.groups)
        self._works["control"] = control.run
        return control.settings

    async def _alarm(
        self, field: Field, publish: Listener, health: Health, stack: AsyncExitStack
    ) -> Alarming:
        """The alarms, which look at everything that is published from here on."""
        alarming = Alarming(
            *(self._config, field.hub, publish, field.clock),
            status=health.status,
            lines=lambda: {line.name: _devices(line) for line in field.lines.drivers},
        )
        await stack.enter_async_context(alarming)
        field.hub.declare(*alarming.groups)
        stack.callback(field.dispatch.listen(alarming.own.heard))
        self._works |= alarming.works
        return alarming

    async def _schedule(
        self, field: Field, store: Store, publish: Listener, alarms: Alarms, stack: AsyncExitStack
    ) -> Jobs:
        """What is done at its hour, and reports also when they are asked for."""
        jobs = open_jobs(*(self._config, field, store, publish), alarms=alarms, reporting=self._reporting)
        await stack.enter_async_context(jobs)
        self._works |= {"jobs": jobs.run, "reports": self._reporting.run}
        return jobs

    async def _serve(
        self,
        field: Field,
        store: Store,
        health: Health,
        alarming: Alarming,
        stack: AsyncExitStack,
        *,
        scans: Scans,
        jobs: Jobs,
    ) -> None:
        """What the local network is served, as far as that goes; all else goes on without."""
        parts = parts_of(self._config, field.dispatch, field.lines, scans)
        make = partial(
            Server,
            *(self._config.options.server, field.hub, store, self._config.data_dir, health.status),
            certain=lambda: field.clock.certain,
            alarm=alarming.own.refused,
            alarms=alarming.alarms,
            parts=parts._replace(jobs=jobs, reports=self._reporting),
        )
        self._door = await stack.enter_async_context(Door(make, self._config.data_dir))
        self._works["server"] = self._door.run

    def _announce(self, field: Field) -> None:
        """Say that it is there: in the log, on the network."""
        options = self._config.options
        counts = (len(field.hub.devices), len(field.lines.drivers))
        where = self.url or "no page yet"
        log.info("site %s: %d devices on %d lines, %s", options.agent.site, *counts, where)
        if self._door is not None:
            self._door.announce()
        self._works |= announcing(options, self.url)

    async def _run_until_stopped(self, field: Field, store: Store, control: SiteControl | None) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = {name: tasks.create_task(_whole(work), name=name) for name, work in self._works.items()}
            await self._stopping.wait()
            if self.moves:
                field.pause()
            else:
                log.info("stopping")
                self._notifier.send(STOPPING=1)
                if control is not None:
                    running["control"].cancel()
                    await control.leave()
                await field.leave()
            for task in running.values():
                task.cancel()
            asyncio.get_running_loop().call_later(PART_S, store.part)


async def _whole(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _status_file(file: StatusFile) -> None:
    await supervise(file.run, Episode(log, "status file"), LINE_BACKOFF)


def _control(config: Config, field: Field, publish: Listener) -> SiteControl | None:
    """The control of the rooms; None without rooms."""
    if field.rests is None:
        return None
    from agent.control.site import Doors, SiteControl  # noqa: PLC0415

    options, hub, clock = config.options, field.hub, field.clock
    return SiteControl(
        options.control,
        options.room,
        options.tariff,
        timezone=options.agent.timezone,
        data_dir=config.data_dir,
        tariff_folders=(options.agent.tariff_dir,) if options.agent.tariff_dir else (),
        doors=Doors(
            field.dispatch,
            hub.groups,
            hub.latest,
            publish,
            clock.now_s,
            lambda: clock.certain,
            since_boot_s,
            rests=field.rests,
        ),
    )


def _devices(line: Driver) -> list[str]:
    return list(dict.fromkeys(group.device.name for group in line.groups))


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _raise_file_limit() -> None:
    """As many open files as the system lets us have: each line and each client is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; OSError if another agent has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "agent.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(
                f"{folder}: another agent works here; stop it, or give this one a data_dir of its own"
            ) from error
        yield
