"""The box: room on the disk, how long the memory card will last, whether the clock is right, serial ports."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from agent.clock import kernel_synchronised, since_boot_s
from agent.doctor.findings import Finding, fault, unknown, warning, well

FREE_MB_MIN = 200
SECTOR_BYTES = 512  # /proc's and /sys's, whatever the device's own
DAY_S = 86_400.0
SINCE_BOOT_S_MIN = 3600.0  # a shorter time is the boot itself: then a while is measured
YEARS_WARNED, YEARS_BAD = 5.0, 1.0
BY_ID = Path("/dev/serial/by-id")


def disk(data_dir: Path, size_max_mb: int, free_bytes: Callable[[Path], int] | None = None) -> Finding:
    """Room for what the store may still take."""
    free_mb = (free_bytes or _free_bytes)(data_dir) / 1e6
    held_mb = sum(file.stat().st_size for file in data_dir.glob("readings.db*")) / 1e6
    wanted_mb = max(size_max_mb - held_mb, 0) + FREE_MB_MIN
    text = f"{free_mb:.0f} MB free where {data_dir} is"
    if free_mb < FREE_MB_MIN:
        return fault("disk", text, "free some, or make [store] size_max_mb smaller")
    if free_mb < wanted_mb:
        text += f"; the readings may grow by {wanted_mb - FREE_MB_MIN:.0f} MB more"
        return warning("disk", text, "free some, or make [store] size_max_mb smaller")
    return well("disk", text)


def _free_bytes(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


class Written(NamedTuple):
    """What a device was made to write, and in what time."""

    device: str
    of_bytes: int
    in_s: float

    @property
    def per_day_bytes(self) -> float:
        return self.of_bytes / self.in_s * DAY_S


def written(path: Path, measure_s: float, sys: Path = Path("/sys/dev/block")) -> Written | None:
    """What the device under `path` wrote since boot, or in the next `measure_s`; None: it cannot be known."""
    number = path.stat().st_dev
    place = (sys / f"{os.major(number)}:{os.minor(number)}").resolve()
    place = place.parent if (place / "partition").exists() else place
    if (before := _sectors(place)) is None:
        return None
    if (boot_s := since_boot_s()) >= SINCE_BOOT_S_MIN:
        return Written(place.name, before * SECTOR_BYTES, boot_s)
    time.sleep(measure_s)
    after = _sectors(place) or before
    return Written(place.name, (after - before) * SECTOR_BYTES, measure_s)


def _sectors(place: Path) -> int | None:
    try:
        return int((place / "stat").read_text(encoding="ascii").split()[6])
    except (OSError, IndexError, ValueError):
        return None


def wear(found: Written | None, endurance_tb: float | None) -> Finding:
    """How long a card rated for `endurance_tb` lasts at this pace."""
    if found is None:
        return unknown("card", "what is written cannot be measured here (no block device of its own)")
    text = f"{found.device}: {found.per_day_bytes / 1e6:.0f} MB a day, measured over {_span(found.in_s)}"
    if endurance_tb is None:
        return unknown("card", f"{text}; its rating is not known: set [agent] card_endurance_tb")
    years = endurance_tb * 1e12 / max(found.per_day_bytes, 1.0) / 365
    text += f": {endurance_tb:g} TB last about {min(years, 100):.1f} years"
    if years < YEARS_BAD:
        return fault("card", text, "find what writes so much (iotop -ao), or use a card made for recorders")
    if years < YEARS_WARNED:
        return warning("card", text, "plan its replacement; see docs/operations.md, moving to a new card")
    return well("card", text)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 300 else f"{seconds / 3600:.1f} h"


def clock(trust: str, synchronised: Callable[[], bool] = kernel_synchronised) -> Finding:
    """Whether readings get a time that can be trusted."""
    if synchronised():
        return well("clock", "synchronised (NTP, PTP or GPS), by the kernel's word")
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if trust == "always":
        text = f"not synchronised, but trusted as it is (trust_clock); it says {now}"
        return warning("clock", text, "compare it with a watch; NTP would keep it right")
    way_out = "let the box reach an NTP server (timedatectl timesync-status), or see trust_clock"
    return fault("clock", f"not synchronised, readings wait on this box; it says {now}", way_out)


def serial_port(subject: str, port: str, by_id: Path = BY_ID) -> Iterator[Finding]:
    """Whether the serial port of a line is there."""
    device = Path(port)
    try:
        is_device = stat.S_ISCHR(device.stat().st_mode)
    except OSError as error:
        there = ", ".join(sorted(str(each) for each in by_id.glob("*"))) or "none"
        yield fault(
            subject, f"{port}: {error.strerror}", f"plug the adapter in; ports that are there: {there}"
        )
        return
    if not is_device:
        yield fault(subject, f"{port}: is not a serial port", "name the port of the adapter")
    elif not port.startswith(str(by_id)) and device.name.startswith(("ttyUSB", "ttyACM")):
        way_out = f"name it by {by_id}/..., which stays the same after a restart"
        yield warning(subject, f"{port}: may have another number after a restart", way_out)
    else:
        yield well(subject, f"{port}: there")
