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
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from agent import __version__
from agent.alarming import Alarming
from agent.alarms import Alarm, Alarms
from agent.alarms.alarm import Words
from agent.analysis.site import Analyses, Place
from agent.analysis.site import Doors as AnalysisDoors
from agent.centre import requests
from agent.clock import Clock, since_boot_s
from agent.config import Config
from agent.dispatch import Dispatch
from agent.drivers import Driver
from agent.field import Field
from agent.health import Health
from agent.hub import Hub, Listener
from agent.lan import announcing, parts_of
from agent.lines import LINE_BACKOFF
from agent.notify import Notifier, Sign, Watchdog
from agent.plugins.jobs import plugin_jobs
from agent.plugins.live import Doors
from agent.reporting import Reporting
from agent.scanning import Scans
from agent.schedule import JOBS_FILE, Alert, Jobs
from agent.schedule.command import command_jobs
from agent.server import Server
from agent.signs import Commits, Punctual
from agent.status_file import StatusFile
from agent.store import Store
from agent.store.requeue import requeue
from agent.supervise import Backoff, Episode, supervise
from agent.timekeeping import Timekeeper
from agent.uplink import SETTINGS, Settings, ThingsBoard, Uplink, let_talk, open_uplinks

if TYPE_CHECKING:
    from agent.control.site import Rests, SiteControl

log = logging.getLogger(__name__)


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
        self._health: Health | None = None
        self._notifier = Notifier()
        self.url = ""
        self.moves = False

    @property
    def status(self) -> Mapping[str, Any]:
        """What `/api/v1/status` answers; empty before the start."""
        return self._health.status() if self._health else {}

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

        OSError if the store or the server's port cannot be had.
        """
        _on_signals(self.stop)
        _raise_file_limit()
        if self._field is not None:
            await self._run(self._field, ready)
            return
        async with Field(self._config) as self._field:
            await self._run(self._field, ready)

    async def _run(self, field: Field, ready: Callable[[], Awaitable[None]] | None) -> None:
        options = self._config.options
        clock, lines, hub, dispatch = field.clock, field.lines, field.hub, field.dispatch
        async with AsyncExitStack() as stack:
            stack.enter_context(alone_in(self._config.data_dir))
            store = await stack.enter_async_context(
                Store(self._config.data_dir / "readings.db", options.store, in_memory=self._config.in_memory)
            )
            self.store = store
            stack.callback(hub.listen(store.append))
            uplink_dir = self._config.data_dir / "uplinks"
            uplinks = open_uplinks(options.uplink, store, uplink_dir, options.agent.site)
            await store.register(hub.groups)
            timekeeper = Timekeeper(clock, store, hub)
            await timekeeper.begin(go_on=self._config.data_dir not in field.stamped)
            field.stamped.add(self._config.data_dir)
            publish = timekeeper.publish
            control = _control(
                self._config, hub=hub, dispatch=dispatch, clock=clock, publish=publish, rests=field.rests
            )
            health = Health(
                *(publish, hub, store, lines.drivers, uplinks),
                interval_s=options.agent.health_interval_s,
                clock=clock,
                troubles=control.troubles if control else list,
            )
            hub.declare(*health.groups)
            if control is not None:
                await stack.enter_async_context(control)
                hub.declare(*control.groups)
            settings = control.settings if control else {}
            scans = await stack.enter_async_context(Scans(lines, self._config.profile_dir, clock.now_s))
            await _let_talk(uplinks, uplink_dir, hub, dispatch, health, scans=scans, obeyed=settings)
            self._health = health
            alarming = await stack.enter_async_context(
                Alarming(
                    self._config,
                    hub,
                    publish,
                    clock,
                    status=health.status,
                    lines=lambda: {line.name: _devices(line) for line in lines.drivers},
                )
            )
            hub.declare(*alarming.groups)
            stack.callback(dispatch.listen(alarming.own.heard))
            doors = Doors(hub, store, dispatch, publish, alarm=_to_alarms(alarming.alarms), now_s=clock.now_s)
            jobs = await stack.enter_async_context(_jobs(self._config, doors, hub, clock, self._reporting))
            server = Server(
                *(options.server, hub, store, self._config.data_dir, health.status),
                certain=lambda: clock.certain,
                alarm=alarming.own.refused,
                alarms=alarming.alarms,
                parts=parts_of(self._config, dispatch, lines, scans)._replace(
                    jobs=jobs, reports=self._reporting
                ),
            )
            await stack.enter_async_context(server)
            await store.register(hub.groups)  # what was declared since
            self.url = server.url
            log.info(
                "site %s: %d devices on %d lines, %s",
                options.agent.site,
                len(hub.devices),
                len(lines.drivers),
                server.url,
            )
            server.announce()
            field.serve(publish, store.register, health.relist)
            works: dict[str, Callable[[], Awaitable[None]]] = {
                "store": store.run,
                "clock": timekeeper.run,
                "health": health.run,
                "requeue": partial(_requeue, self._config.data_dir / requests.FOLDER, store, uplinks),
                "jobs": jobs.run,
                "reports": self._reporting.run,
                **announcing(options, server.url),
                "field": field.run,
                **alarming.works,
                **{f"uplink {uplink.name}": partial(_uplink, uplink) for uplink in uplinks},
                **({"control": control.run} if control else {}),
                **({"ready": ready} if ready else {}),
            }
            signs: dict[str, Sign] = {
                "store": Commits(lambda: store.state),
                "loop": Punctual(lambda: health.lag_ms),
            }
            if control is not None:
                signs["control"] = lambda: "; ".join(control.troubles())
            works |= {
                "watchdog": Watchdog(self._notifier, signs, health.summary).run,
                "status": partial(_status_file, StatusFile(health.status)),
            }
            await self._run_until_stopped(works, field, control)

    async def _run_until_stopped(
        self,
        works: Mapping[str, Callable[[], Awaitable[None]]],
        field: Field,
        control: SiteControl | None,
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = {name: tasks.create_task(_whole(work), name=name) for name, work in works.items()}
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


def _jobs(config: Config, doors: Doors, hub: Hub, clock: Clock, reporting: Reporting) -> Jobs:
    """What `[[job]]` and `[[plugin]]` ask for, and the agent's own; what they publish is declared."""
    options, folder = config.options, config.file.resolve().parent
    zone = ZoneInfo(options.agent.timezone)
    found, groups = plugin_jobs(options.plugin, folder / (options.agent.plugin_dir or ""), zone, doors)
    found += [*command_jobs(options.job, zone, folder), *reporting.jobs(zone)]
    analyses = _analyses(config, doors, clock)
    found += analyses.jobs
    analyses.declare(analyses.plan())
    jobs = Jobs(
        *(found, config.data_dir / JOBS_FILE, doors.publish),
        alarm=doors.alarm,
        now_s=clock.now_s,
        certain=lambda: clock.certain,
    )
    hub.declare(*groups, *jobs.groups)
    return jobs


def _analyses(config: Config, doors: Doors, clock: Clock) -> Analyses:
    """The analyses that are the agent's own."""
    options = config.options
    folders = (options.agent.tariff_dir,) if options.agent.tariff_dir else ()
    place = Place(config.data_dir / "readings.db", config.data_dir, options.agent.timezone, folders)
    main = (options.control.site_power_point or "").partition(".")[0]
    return Analyses(
        *(options.analysis, options.meter),
        AnalysisDoors(doors.hub, doors.publish, doors.alarm, clock.now_s, lambda: clock.certain),
        place,
        tariff=options.tariff.id or "",
        main=main,
        outdoor=options.control.outdoor_point or "",
    )


def _to_alarms(alarms: Alarms) -> Callable[[Alert], None]:
    """What jobs and plug-ins say goes to the alarms."""

    def say(alert: Alert) -> None:
        if not alert.raised:
            alarms.clear(alert.id)
            return
        alarm = Alarm(alert.id, Words(alert.text_pt, alert.text_en), source=alert.source)
        alarms.raise_alarm(alarm, value=alert.value, detail=alert.detail)

    return say


async def _whole(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _status_file(file: StatusFile) -> None:
    await supervise(file.run, Episode(log, "status file"), LINE_BACKOFF)


async def _requeue(folder: Path, store: Store, uplinks: Sequence[Uplink]) -> None:
    """Send again what `ledger reconcile` asks for."""
    known = [uplink.name for uplink in uplinks]
    serve = partial(requests.serve, folder, partial(requeue, store), known)
    await supervise(serve, Episode(log, str(folder)))


async def _uplink(uplink: Uplink) -> None:
    await supervise(uplink.run, uplink.episode, Backoff(first_s=0.5, most_s=uplink.retry_s_max))


async def _let_talk(
    uplinks: Sequence[Uplink],
    state_dir: Path,
    hub: Hub,
    dispatch: Dispatch,
    health: Health,
    *,
    scans: Scans,
    obeyed: Mapping[str, Callable[[Any], None]],
) -> None:
    """Let every ThingsBoard call, set and be told; what one sets, all are told, and `obeyed` does it."""
    known = {name: replace(each, apply=obeyed.get(name, each.apply)) for name, each in SETTINGS.items()}
    settings = Settings(state_dir / "settings.json", known)
    await settings.load()
    for uplink in uplinks:
        if isinstance(uplink, ThingsBoard):
            await let_talk(
                uplink,
                state_dir,
                hub=hub,
                dispatch=dispatch,
                settings=settings,
                status=health.status,
                version=__version__,
                rescan=scans.rescan,
            )


def _control(
    config: Config, *, hub: Hub, dispatch: Dispatch, clock: Clock, publish: Listener, rests: Rests | None
) -> SiteControl | None:
    """The control of the rooms; None without rooms."""
    if rests is None:
        return None
    from agent.control.site import Doors, SiteControl  # noqa: PLC0415

    options = config.options
    return SiteControl(
        options.control,
        options.room,
        options.tariff,
        timezone=options.agent.timezone,
        data_dir=config.data_dir,
        tariff_folders=(options.agent.tariff_dir,) if options.agent.tariff_dir else (),
        doors=Doors(
            dispatch,
            hub.groups,
            hub.latest,
            publish,
            clock.now_s,
            lambda: clock.certain,
            since_boot_s,
            rests=rests,
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
