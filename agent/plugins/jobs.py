"""The plug-ins of the configuration as jobs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from zoneinfo import ZoneInfo

from agent.model import Group
from agent.plugins.host import Program, plugin_work
from agent.plugins.live import Doors, LiveSites, group_of
from agent.plugins.options import PluginOptions
from agent.plugins.outline import outline
from agent.schedule.child import Limits
from agent.schedule.job import Job


def plugin_jobs(
    options: Iterable[PluginOptions], folder: Path, zone: ZoneInfo, doors: Doors
) -> tuple[list[Job], list[Group]]:
    """A job for each of `[[plugin]]`, and the groups that they publish. FaultyFile: a file was changed since
    the configuration was checked."""
    jobs: list[Job] = []
    groups: list[Group] = []
    for each in options:
        file = folder / each.file
        found = outline(file)
        program = Program(file, each.options, zone.key, Limits(each.time_s_max, each.memory_mb_max))
        work = plugin_work(program, LiveSites(doors, each.name, found, each.may_write))
        jobs.append(Job(each.name, work, each.schedule(zone), each.words, each.missed))
        if (group := group_of(each.name, found)) is not None:
            groups.append(group)
    return jobs, groups
