"""Where everything is on a box. `root` is "/", or a folder in a test."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

NAME = "uicps-agent"
UPGRADE_UNIT = f"{NAME}-upgrade"
COMPLETE = ".complete"


class Layout:
    """The paths; nothing is made by asking for them."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.opt = root / "opt" / NAME
        self.releases = self.opt / "releases"
        self.current = self.opt / "current"  # the release that runs
        self.keeper = self.opt / "keeper"  # the release that watches over an upgrade: the one before it
        self.upgrade = self.opt / "upgrade.json"  # there while an upgrade is under way
        self.upgraded = self.opt / "last-upgrade.json"
        self.config_dir = root / "etc" / NAME
        self.config = self.config_dir / "config.toml"
        self.credentials = self.config_dir / "credentials"
        self.state = root / "var/lib" / NAME
        self.snapshot = root / "var/lib" / UPGRADE_UNIT
        self.runtime = root / "run" / NAME
        self.units = root / "etc/systemd/system"
        self.unit = self.units / f"{NAME}.service"
        self.drop_ins = self.units / f"{NAME}.service.d"
        self.upgrade_unit = self.units / f"{UPGRADE_UNIT}.service"
        self.command = root / "usr/local/bin" / NAME

    @property
    def release(self) -> Path | None:
        """The release that runs, if one is installed."""
        return self.current.resolve() if self.current.is_symlink() else None


def release_name(version: str, now: datetime) -> str:
    """`0.2.0-20261122T140501Z`: sorts by time within a version, never met twice."""
    return f"{version}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def point_at(link: Path, target: Path) -> None:
    """Make `link` name `target` in one step, whatever it named before; safe against a power cut."""
    draft = link.with_name(f".{link.name}.new")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.replace(link)
    sync_folder(link.parent)


def write_whole(file: Path, text: str, mode: int = 0o644) -> None:
    """Write `file` whole or not at all; safe against a power cut."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        os.fchmod(out.fileno(), mode)
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def spare_releases(layout: Layout) -> list[Path]:
    """Releases that can go: not the one that runs, not the newest whole one beside it, nor the keeper."""
    if not layout.releases.is_dir():
        return []
    kept = {layout.release, layout.keeper.resolve() if layout.keeper.is_symlink() else None}
    others = [each for each in sorted(layout.releases.iterdir(), key=_age) if each.resolve() not in kept]
    whole = [each for each in others if (each / COMPLETE).exists()]
    # With a keeper there is a way back already.
    newest = whole[-1:] if None in kept or len(kept) == 1 else []
    return [each for each in others if each not in newest]


def _age(release: Path) -> str:
    return release.name.rpartition("-")[2]
