"""From a fresh box to a running service, and back. Every step may be done again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from agent.deploy import release, units
from agent.deploy.answers import TOKEN_FILE, Answers, config_text
from agent.deploy.host import Host, free_bytes
from agent.deploy.keep import BESIDE
from agent.deploy.layout import (
    NAME,
    UPGRADE_UNIT,
    Layout,
    point_at,
    release_name,
    spare_releases,
    write_whole,
)

RELEASE_BYTES = 200_000_000
CONFIG_MODE = 0o660
NEWS = ("setup code", "SHA-256")  # what of the agent's first lines whoever installs it must read

Say = Callable[[str], None]


def make_release(layout: Layout, version: str, wheels: Path | None) -> Path:
    """A new release folder, whole. OSError if there is no room or it cannot be made."""
    if (free := free_bytes(layout.opt)) < RELEASE_BYTES:
        needed_mb = RELEASE_BYTES / 1e6
        raise OSError(
            f"{layout.opt}: {free / 1e6:.0f} MB free, a release needs {needed_mb:.0f}: make room first"
        )
    if wheels:
        release.verify(wheels)
        version = release.version_in(wheels)
    folder = layout.releases / release_name(version, datetime.now(UTC))
    release.build(folder, wheels)
    return folder


def write_config(layout: Layout, answers: Answers) -> None:
    """The first configuration and its secret; what is there already is not touched."""
    if answers.center_token:
        write_whole(layout.config_dir / TOKEN_FILE, f"{answers.center_token}\n", 0o600)
    example = units.packed("config.example.toml")
    write_whole(layout.config, config_text(example, answers, layout.state), CONFIG_MODE)


def make_folders(host: Host, layout: Layout) -> None:
    """Account and folders. The agent may write its configuration, secrets only systemd reads."""
    host.make_account(layout.state)
    for folder, mode, user, group in (
        (layout.opt, 0o755, "root", "root"),
        (layout.config_dir, 0o770, "root", NAME),
        (layout.credentials, 0o700, "root", "root"),
        (layout.state, 0o700, NAME, NAME),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        host.give(folder, mode, user, group)


def own_config(host: Host, layout: Layout) -> None:
    """The configuration's owners and the example beside it."""
    write_whole(layout.config_dir / "config.example.toml", units.packed("config.example.toml"))
    host.give(layout.config, CONFIG_MODE, "root", NAME)


def put_units(host: Host, layout: Layout, folder: Path) -> None:
    """The units of the release in `folder`, and what this box needs beside them; systemd is told."""
    write_whole(layout.unit, units.unit_of(folder))
    write_whole(layout.upgrade_unit, units.upgrade_unit(layout))
    services = ("systemd-timesyncd", *units.TIME_KEEPERS)
    drop_in = units.clock_drop_in({name for name in services if host.is_active(name)})
    clock = layout.drop_ins / "clock.conf"
    if drop_in:
        layout.drop_ins.mkdir(exist_ok=True)
        write_whole(clock, drop_in)
    else:
        clock.unlink(missing_ok=True)
    host.systemctl("daemon-reload")


def put_in_place(host: Host, layout: Layout, folder: Path) -> None:
    """Make the release in `folder` the one that runs, from the next start on."""
    point_at(layout.current, folder)
    layout.command.parent.mkdir(parents=True, exist_ok=True)
    point_at(layout.command, layout.current / "bin" / NAME)
    put_units(host, layout, folder)


def prune(layout: Layout) -> None:
    """Remove the releases that nobody needs any more."""
    for folder in spare_releases(layout):
        shutil.rmtree(folder, ignore_errors=True)


def news(host: Host) -> list[str]:
    """Of the lines of the agent that runs: how to make the first user, by what to trust its certificate."""
    return [line for line in host.journal(host.state().invocation) if any(word in line for word in NEWS)]


def uninstall(host: Host, layout: Layout, say: Say, *, purge: bool) -> None:
    """Stop and remove the service; with `purge` also configuration, secrets, readings and the account."""
    for unit in (UPGRADE_UNIT, NAME):
        if (layout.units / f"{unit}.service").exists():
            host.systemctl("disable", "--now", unit)
    for file in (layout.unit, layout.upgrade_unit, layout.command):
        file.unlink(missing_ok=True)
    shutil.rmtree(layout.drop_ins, ignore_errors=True)
    host.systemctl("daemon-reload")
    folders = [layout.snapshot, layout.opt]
    if purge:
        folders += [layout.config_dir, layout.state, Path("/var/log") / NAME]
        folders += [folder.with_name(folder.name + BESIDE) for folder in (layout.config_dir, layout.state)]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    if purge:
        host.drop_account()
        say("removed, with everything it had")
    else:
        say(f"removed; kept: {layout.config_dir}, {layout.state} (uninstall --purge takes them too)")
