"""The jobs of the running agent, put together: plug-ins, commands, analyses, reports."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from agent.alarms import Alarm, Alarms
from agent.alarms.alarm import Words
from agent.analysis.site import Analyses, Place
from agent.analysis.site import Doors as AnalysisDoors
from agent.clock import Clock
from agent.config import Config
from agent.field import Field
from agent.hub import Listener
from agent.plugins.jobs import plugin_jobs
from agent.plugins.live import Doors
from agent.reporting import Reporting
from agent.schedule import JOBS_FILE, Alert, Jobs
from agent.schedule.command import command_jobs
from agent.store import Store


def open_jobs(
    config: Config, field: Field, store: Store, publish: Listener, *, alarms: Alarms, reporting: Reporting
) -> Jobs:
    """What `[[job]]` and `[[plugin]]` ask for, and the agent's own; what they publish is declared."""
    options, folder = config.options, config.file.resolve().parent
    hub, clock = field.hub, field.clock
    doors = Doors(hub, store, field.dispatch, publish, alarm=_to(alarms), now_s=clock.now_s)
    zone = ZoneInfo(options.agent.timezone)
    found, groups = plugin_jobs(options.plugin, folder / (options.agent.plugin_dir or ""), zone, doors)
    found += [*command_jobs(options.job, zone, folder), *reporting.jobs(zone)]
    analyses = _analyses(config, doors, clock)
    found += analyses.jobs
    analyses.declare(analyses.plan())
    jobs = Jobs(
        *(found, config.data_dir / JOBS_FILE, publish),
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


def _to(alarms: Alarms) -> Callable[[Alert], None]:
    """What jobs and plug-ins say goes to the alarms."""

    def say(alert: Alert) -> None:
        if not alert.raised:
            alarms.clear(alert.id)
            return
        alarm = Alarm(alert.id, Words(alert.text_pt, alert.text_en), source=alert.source)
        alarms.raise_alarm(alarm, value=alert.value, detail=alert.detail)

    return say
