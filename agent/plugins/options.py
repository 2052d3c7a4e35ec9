"""What `[[plugin]]` may say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Annotated

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from agent.plugins.outline import option_faults, outline
from agent.schedule.options import NAME_CHARS_MAX, When, when_faults
from agent.schema import FaultyFile, Name

POINT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*\.[A-Za-z0-9][A-Za-z0-9_-]*$"


class PluginOptions(When):
    """`[[plugin]]`: a file of `plugin_dir`, when it runs, and what it may do beyond reading."""

    name: Annotated[Name, Field(max_length=NAME_CHARS_MAX)]
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.py$", max_length=100)]
    may_write: Annotated[
        list[Annotated[str, Field(pattern=POINT_PATTERN, max_length=200)]], Field(max_length=200)
    ] = Field(default_factory=list)
    options: Annotated[dict[str, StrictBool | StrictInt | StrictFloat | StrictStr], Field(max_length=100)] = (
        Field(default_factory=dict)
    )


def all_plugin_faults(
    plugins: Sequence[PluginOptions], folder: Path | None, zone: tzinfo
) -> Iterator[tuple[str, str]]:
    """What is wrong with `[[plugin]]`s, as key path and text."""
    writers: dict[str, str] = {}
    for at, plugin in enumerate(plugins):
        found = [*when_faults(plugin, zone), *_faults(plugin, folder)]
        taken = [point for point in plugin.may_write if writers.setdefault(point, plugin.name) != plugin.name]
        texts = [f"expected {point} once, {writers[point]} may write it too" for point in taken]
        found += [("may_write", text) for text in texts]
        yield from ((f"plugin[{at}].{key}", text) for key, text in found)


def _faults(plugin: PluginOptions, folder: Path | None) -> Iterator[tuple[str, str]]:
    if folder is None:
        yield "file", "expected agent.plugin_dir, the folder it is in"
        return
    try:
        found = outline(folder / plugin.file)
    except FaultyFile as faulty:
        for fault in faulty.faults:
            yield "file", str(fault)
        return
    yield from ((f"options.{key}", text) for key, text in option_faults(found, plugin.options))
    if "submit" in found.uses and not plugin.may_write:
        yield "may_write", f"expected the points it may write: {plugin.file} uses submit"
