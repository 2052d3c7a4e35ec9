"""How long a memory card lasts, from what the kernel says of it. No card says more than that by itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

SECTOR_BYTES = 512  # in /sys, whatever the device's own are
SECTORS_WRITTEN = 6  # the seventh figure of /sys/block/*/stat
UPTIME_S_MIN = 6 * 3600.0  # what a start writes is not what a day writes
YEAR_S = 365.25 * 86_400
EMMC_WORN = 9  # of 10: 80 to 90 % of its life is used


class Card(NamedTuple):
    """`written_bytes` since boot; `life_tenths` of its life used (an eMMC says so), 0: not known."""

    written_bytes: int
    life_tenths: int


def look(folder: Path, sys: Path = Path("/sys")) -> Card | None:
    """The device that `folder` is on; None if it is none that the kernel counts (a network, memory)."""
    try:
        number = folder.stat().st_dev
        disk = (sys / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}").resolve(strict=True)
        disk = disk.parent if (disk / "partition").exists() else disk
        figures = (disk / "stat").read_text(encoding="ascii").split()
        return Card(int(figures[SECTORS_WRITTEN]) * SECTOR_BYTES, _life_tenths(disk))
    except (OSError, ValueError, IndexError):
        return None


def _life_tenths(disk: Path) -> int:
    try:
        figures = (disk / "device" / "life_time").read_text(encoding="ascii").split()
        return max(int(figure, 16) for figure in figures)
    except (OSError, ValueError):
        return 0


def years(card: Card, uptime_s: float, endurance_tb: float) -> float | None:
    """How long a new card of `endurance_tb` lasts at the rate since boot; None: too early, or not known."""
    if not endurance_tb or uptime_s < UPTIME_S_MIN:
        return None
    return endurance_tb * 1e12 / max(card.written_bytes / uptime_s, 1e-9) / YEAR_S


def worn(
    card: Card | None, uptime_s: float, endurance_tb: float, years_min: float
) -> tuple[bool | None, str]:
    """Whether to worry, None: it cannot be known; and what was found."""
    if card is None:
        return None, ""
    if card.life_tenths >= EMMC_WORN:
        return True, f"eMMC: {(card.life_tenths - 1) * 10} %"
    left = years(card, uptime_s, endurance_tb)
    if left is None:
        return (False if card.life_tenths else None), ""
    return left < years_min, f"{endurance_tb:g} TB / {left:.1f} a"
