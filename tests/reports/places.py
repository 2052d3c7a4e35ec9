"""A site with stored readings, shaped like real ones: a day's load, voltages that sag under it, noise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from agent.localtime import Floats, Ints, local_ms
from agent.model import Device, Group, Kind, Point, Quality, Reading
from agent.store import Store
from agent.store.options import StoreOptions

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
NAMES = ("voltage_l1", "voltage_l2", "voltage_l3", "current_l1", "current_l2", "current_l3")
POWERS = ("active_power_l1", "active_power_l2", "active_power_l3")
REACTIVES = ("reactive_power_l1", "reactive_power_l2", "reactive_power_l3")
COLUMNS = (*NAMES, *POWERS, *REACTIVES, "active_power", "reactive_power", "frequency")
POINTS = (
    *(Point(name, "V" if name[0] == "v" else "A") for name in NAMES),
    *(Point(name, "W") for name in POWERS),
    *(Point(name, "var") for name in REACTIVES),
    Point("active_power", "W"),
    Point("reactive_power", "var"),
    Point("frequency", "Hz"),
)
SLOW = (
    Point("energy_import", "kWh", Kind.TOTAL),
    *(Point(f"thd_voltage_l{k}", "%") for k in (1, 2, 3)),
)

CONFIG = """
[agent]
site = "escola"
data_dir = "data"
timezone = "America/Sao_Paulo"
trust_clock = "always"

[[line]]
name = "rs485"
driver = "modbus-tcp"
host = "127.0.0.1"
port = 1502

[[line.device]]
name = "main-meter"
label = "Quadro geral <QGBT> & bloco A"
profile = "eastron-sdm630"
unit_id = 1
"""

Shape = Callable[[Ints, Floats, Floats], None]
"""Changes readings of the fast and the slow group in place: times, fast values, slow values."""


def ms(*when: int, zone: ZoneInfo = SAO_PAULO) -> int:
    return round(datetime(*when, tzinfo=zone).timestamp() * 1000)  # type: ignore[arg-type,misc]


def load_kw(times_ms: Ints, zone: ZoneInfo = SAO_PAULO) -> Floats:
    """12 kW at night, 60 in office hours of a working day, smooth in between."""
    local = local_ms(times_ms, zone)
    hour = local % 86_400_000 / 3_600_000
    working = ((local // 86_400_000 + 3) % 7) < 5
    bell = np.exp(-(((hour - 14.0) / 4.2) ** 2))
    return np.asarray(12 + 48 * bell * np.where(working, 1.0, 0.25))


def fast_values(times_ms: Ints, seed: int = 7) -> Floats:
    """Readings of all COLUMNS at `times_ms`, three phases of 127 V, a little noise."""
    chance = np.random.default_rng(seed)
    load_w = load_kw(times_ms) * 1000 * (1 + 0.04 * chance.standard_normal(times_ms.size))
    split = np.array([0.36, 0.33, 0.31])
    active = load_w[:, None] * split
    reactive = active * np.array([0.33, 0.35, 0.37])
    sag = np.array([4.2, 3.6, 3.4]) * (load_w[:, None] / 60_000)
    volts = 129.2 - sag + 0.5 * chance.standard_normal((times_ms.size, 3))
    amps = np.hypot(active, reactive) / volts
    hertz = 60 + 0.02 * chance.standard_normal((times_ms.size, 1))
    sums = [each.sum(axis=1, keepdims=True) for each in (active, reactive)]
    whole = [volts, amps, active, reactive, *sums, hertz]
    return np.asarray(np.round(np.concatenate(whole, axis=1), 2))


def slow_values(times_ms: Ints, begin_ms: int, start_kwh: float = 84_211.0) -> Floats:
    """The counter that goes with `load_kw`, and THD."""
    grid = np.arange(begin_ms, int(times_ms[-1]) + 60_000, 60_000, dtype=np.int64)
    counted = np.concatenate([[0.0], np.cumsum(load_kw(grid)[:-1] / 60)])
    energy = start_kwh + np.interp(times_ms, grid, counted)
    thd = np.array([3.1, 2.8, 3.4]) + 0.4 * np.sin(times_ms[:, None] / 5e6)
    return np.asarray(np.round(np.column_stack([energy, thd]), 2))


def groups(name: str = "main-meter", *, label: str = "", every_s: float = 60) -> tuple[Group, Group]:
    device = Device(name, "eastron-sdm630", label)
    return Group(device, "fast", POINTS, round(every_s * 1000)), Group(device, "slow", SLOW, 600_000)


async def fill(
    file: Path,
    from_ms: int,
    to_ms: int,
    *,
    every_s: float = 60,
    name: str = "main-meter",
    label: str = "Quadro geral <QGBT> & bloco A",
    shape: Shape = lambda times_ms, fast, slow: None,
    lost: Sequence[tuple[int, int]] = (),
) -> None:
    """A real store with a meter's readings; what is within `lost` was never read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fast_group, slow_group = groups(name, label=label, every_s=every_s)
    times = np.arange(from_ms, to_ms, round(every_s * 1000), dtype=np.int64)
    slow_times = np.arange(from_ms, to_ms, 600_000, dtype=np.int64)
    fast, slow = fast_values(times), slow_values(slow_times, from_ms)
    shape(times, fast, slow)
    async with Store(file, StoreOptions(free_min_mb=1)) as store:
        await store.register([fast_group, slow_group])
        for some in (_readings(fast_group, times, fast, lost), _readings(slow_group, slow_times, slow, lost)):
            for batch in some:
                store.append(batch)
                await store.commit()


def _readings(
    group: Group, times_ms: Ints, values: Floats, lost: Sequence[tuple[int, int]]
) -> Iterator[list[Reading]]:
    kept = np.ones(times_ms.size, dtype=np.bool_)
    for begin, end in lost:
        kept &= ~((times_ms >= begin) & (times_ms < end))
    at = np.flatnonzero(kept)
    for begin in range(0, at.size, 5000):
        rows = at[begin : begin + 5000]
        yield [
            Reading(group, time_ms, tuple(row), Quality.GOOD)
            for time_ms, row in zip(times_ms[rows].tolist(), values[rows].tolist(), strict=True)
        ]


def site(folder: Path, more: str = "") -> Path:
    """A configuration file, its data folder made."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    file = folder / "config.toml"
    file.write_text(CONFIG + more, encoding="utf-8")
    return file


if __name__ == "__main__":
    import sys

    place = Path(sys.argv[1])
    site(place, sys.argv[2] if len(sys.argv) > 2 else "")
    asyncio.run(fill(place / "data" / "readings.db", ms(2026, 9, 1), ms(2026, 11, 20, 15)))
