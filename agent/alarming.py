"""The alarms of the running agent, put together: rules, the agent's own, points, outlets."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self
from zoneinfo import ZoneInfo

from agent.alarms import Alarms
from agent.alarms.outlets import CentreOptions, Follower, MailOptions, Outlet, OutletOptions, WebhookOptions
from agent.alarms.own import Own
from agent.alarms.points import AlarmPoints
from agent.alarms.watch import Watch, watched
from agent.centre.alarms import CentreAlarms
from agent.centre.client import Rest
from agent.clock import Clock
from agent.config import Config
from agent.hub import Hub, Listener
from agent.model import Group
from agent.supervise import Backoff, supervise
from agent.uplink import secret
from agent.uplink.thingsboard import ThingsBoardOptions

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
OF_JOBS = ("job.", "plugin.")  # raised and cleared by runs that may be hours apart


class Alarming:
    """Entered before anything is published; `works` are then kept running, `groups` declared.

    `lines` names the devices of each line, `status` is the agent's.
    """

    def __init__(
        self,
        config: Config,
        hub: Hub,
        publish: Listener,
        clock: Clock,
        *,
        status: Callable[[], Mapping[str, Any]],
        lines: Callable[[], Mapping[str, Sequence[str]]],
    ) -> None:
        options = config.options
        self._hub, self._rules = hub, options.alarm
        self.alarms = Alarms(config.data_dir, options.alarms, now_s=clock.now_s)
        self._followers = list(_followers(config, self.alarms))
        self.own = Own(
            self.alarms,
            options.alarms,
            status,
            hub.latest,
            lines=lines,
            folder=config.data_dir,
            outlets=lambda: {each.name: each.episode.failures for each in self._followers},
            card_endurance_tb=options.agent.card_endurance_tb or 0.0,
        )
        for rule in watched(self._rules):
            self.alarms.declare(rule.alarm, rule.suppressed_by)
        self._points = AlarmPoints(self.alarms, publish, self._tick, now_s=clock.now_s)

    @property
    def groups(self) -> Sequence[Group]:
        """What it publishes."""
        return self._points.groups

    @property
    def works(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Every task of it, by name."""
        works: dict[str, Callable[[], Awaitable[None]]] = {
            "alarms": self.alarms.run,
            "alarm points": self._points.run,
            "own alarms": self.own.run,
        }
        return works | {f"outlet {each.name}": partial(_followed, each) for each in self._followers}

    async def __aenter__(self) -> Self:
        """Bring back what was active; look at the rules from now on. OSError if there can be no alarms.db."""
        await self.alarms.__aenter__()
        names = self.own.names() | {rule.alarm.id for rule in watched(self._rules)}
        names |= {alarm.id for alarm in self.alarms.active() if alarm.id.startswith(OF_JOBS)}
        self.alarms.abandon_all_but(names)
        self._watch = Watch(self._rules, self._hub.latest, self.alarms.say, raised=self.alarms.is_raised)
        self._deaf = self._hub.listen(self._watch.heard)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deaf()
        await self.alarms.__aexit__(kind, error, trace)

    def _tick(self) -> None:
        self._watch.tick()
        self.alarms.tick()


async def _followed(follower: Follower) -> None:
    await supervise(follower.run, follower.episode, Backoff(FIRST_RETRY_S, follower.retry_s_max))


def _followers(config: Config, alarms: Alarms) -> Iterator[Follower]:
    for options in config.options.outlet:
        outlet, gather_s, pause_s = _outlet(options, config), 0.0, 0.0
        if outlet is None:
            log.warning("outlet %s: off: its uplink has no rest_url", options.name)
            continue
        if isinstance(options, MailOptions):
            gather_s, pause_s = options.gather_s, options.pause_s
        yield Follower(options, outlet, alarms.journal, gather_s=gather_s, pause_s=pause_s)


def _outlet(options: OutletOptions, config: Config) -> Outlet | None:
    agent, language = config.options.agent, config.options.alarms.language
    # Each brings a library with it, for the sites that have one.
    if isinstance(options, MailOptions):
        from agent.alarms.outlets.mail import Mail  # noqa: PLC0415

        zone = ZoneInfo(agent.timezone)
        return Mail(options, agent.site, language=language, zone=zone, read_secret=secret)
    if isinstance(options, CentreOptions):
        return _at_the_centre(options, config)
    if isinstance(options, WebhookOptions):
        from agent.alarms.outlets.webhook import Webhook  # noqa: PLC0415

        return Webhook(options, agent.site)
    raise TypeError(f"no outlet for {options!r}")


def _at_the_centre(options: CentreOptions, config: Config) -> CentreAlarms | None:
    uplink = next(each for each in config.options.uplink if each.name == options.uplink)
    if not isinstance(uplink, ThingsBoardOptions) or uplink.rest_password_file is None:
        return None
    password = partial(secret, uplink.rest_password_file)
    rest = Rest(uplink.rest_url, uplink.rest_user, password, ca_file=uplink.rest_ca_file)
    devices = {device.name for line in config.options.line for device in line.device}
    gateway = uplink.rest_gateway or config.options.agent.site
    return CentreAlarms(rest, gateway, devices, config.options.alarms.language)
