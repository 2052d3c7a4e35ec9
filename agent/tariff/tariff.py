"""A tariff loaded by its id: its dated tables, its flags, its time zone.

A file of the user's folder wins over a built-in one of the same id; `flags.toml` likewise. What holds on
a day is the last table whose `valid_from` is not after it; before the first table the first one holds,
and `covers` says so, because a price for optimising must exist even when the clock is wrong.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from agent.schema import Fault, FaultyFile, read
from agent.tariff.options import STATES, Flag, FlagFile, FlagPrice, TariffFile, TaxOptions

BUILT_IN = Path(__file__).parent / "tariffs"
FLAGS = "flags"
NO_TAX = TaxOptions(valid_from=date(1970, 1, 1), method="none")


@dataclass(frozen=True, slots=True)
class Tariff:
    """What `id` costs, on every day. Made by `load`."""

    id: str
    file: TariffFile
    flags: FlagFile

    @property
    def zone(self) -> ZoneInfo:
        """Where its hours and days are."""
        return ZoneInfo(self.file.timezone)

    def version_on(self, day: date) -> int:
        """Which `[[version]]` holds on a day."""
        return last_begun([each.valid_from for each in self.file.version], day)

    def tax_on(self, day: date) -> TaxOptions:
        """The taxes of a day; none where the file has none."""
        tables = self.file.tax
        return tables[last_begun([each.valid_from for each in tables], day)] if tables else NO_TAX

    def covers(self, time_ms: int) -> bool:
        """Whether the file has a table of prices for this instant."""
        day = datetime.fromtimestamp(time_ms / 1000, self.zone).date()
        return day >= self.file.version[0].valid_from

    def flag_of(self, month: str) -> tuple[Flag, bool]:
        """The flag of a month like "2025-08", and whether it is known or only assumed."""
        found = self.flags.month.get(month)
        return (self.file.flag_when_unknown, False) if found is None else (found, True)

    def flag_brl_kwh(self, day: date) -> float:
        """The surcharge of that day without taxes; 0 where the contract has none (free market)."""
        if not self.file.flags:
            return 0.0
        table = _flag_price(self.flags, day)
        return float(getattr(table, self.flag_of(f"{day:%Y-%m}")[0])) / 100

    def energy_brl_kwh(self, version: int) -> tuple[float, ...]:
        """The price without taxes of each `Post` under one version; NaN where it has no such post."""
        energy = self.file.version[version].energy
        rows = (energy.off_peak, energy.intermediate, energy.peak)
        flat = self.file.modality == "convencional"
        chosen = [energy.off_peak if row is None and flat else row for row in rows]
        return tuple(row.tusd_brl_kwh + row.te_brl_kwh if row else math.nan for row in chosen)


def last_begun(dates: Sequence[date], day: date) -> int:
    """Which dated table holds on `day`: the last that has begun, or the first if none has."""
    return max(bisect_right(dates, day) - 1, 0)


def _flag_price(flags: FlagFile, day: date) -> FlagPrice:
    return flags.price[last_begun([table.valid_from for table in flags.price], day)]


def with_taxes(brl: float, tax: TaxOptions, *, icms: bool = True) -> float:
    """A price or amount with the taxes that are inside it. `icms=False`: the part that bears none."""
    rate = tax.icms if icms else 0.0
    if tax.method == "none":
        return brl
    if tax.method == "together":
        return brl / (1 - rate - tax.pis - tax.cofins)
    return brl / ((1 - rate) * (1 - tax.pis - tax.cofins))


def known(folders: Sequence[Path] = ()) -> tuple[str, ...]:
    """The ids that `load` finds."""
    files = {file.stem for folder in (*folders, BUILT_IN) for file in folder.glob("*.toml")}
    return tuple(sorted(files - {FLAGS}))


def load(tariff_id: str, folders: Sequence[Path] = ()) -> Tariff:
    """The tariff of this id, from the first folder that has it; FaultyFile says which ids there are."""
    if tariff_id not in known(folders):
        text = f"no tariff of this id; known: {', '.join(known(folders)) or 'none'}"
        raise FaultyFile([Fault(tariff_id, "", text)])
    return load_file(_first(tariff_id, folders), folders)


def load_file(file: Path, folders: Sequence[Path] = ()) -> Tariff:
    """The tariff in `file`, or FaultyFile with all that is wrong with it."""
    options = read(TariffFile, file)
    if options.holidays.state and options.holidays.state not in STATES:
        text = f'expected a state like "SP", found "{options.holidays.state}"'
        raise FaultyFile([Fault(str(file), "holidays.state", text)])
    return Tariff(file.stem, options, read(FlagFile, _first(FLAGS, folders)))


def _first(stem: str, folders: Sequence[Path]) -> Path:
    places = [folder / f"{stem}.toml" for folder in (*folders, BUILT_IN)]
    return next(file for file in places if file.is_file())
