"""What a tariff file may say. Every price is in R$ without taxes and has the date it begins to hold.

A table of prices (`[[version]]`), of taxes (`[[tax]]`) or of the contract (`[[contract]]`) holds from
its `valid_from` until the next one of its kind. Hours are those of the wall clock in `timezone`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, field_validator, model_validator

from agent.schema import Options

DAY_MINUTES = 1440
_STATES = "AC AL AM AP BA CE DF ES GO MA MG MS MT PA PB PE PI PR RJ RN RO RR RS SC SE SP TO"
STATES = frozenset((*_STATES.split(), "São Paulo Capital"))
"""Whose holidays the `holidays` package knows."""
Modality = Literal["convencional", "branca", "verde", "azul"]
Flag = Literal["green", "yellow", "red_1", "red_2"]
Brl = Annotated[float, Field(ge=0, le=1_000_000)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Kw = Annotated[float, Field(gt=0, le=1_000_000)]


def _minutes(value: object) -> object:
    """ "17:30" as minutes of the day; "24:00" is the end of it."""
    found = re.fullmatch(r"([01]\d|2[0-4]):(00|15|30|45)", value) if isinstance(value, str) else None
    if not found or (minutes := int(found[1]) * 60 + int(found[2])) > DAY_MINUTES:
        raise ValueError(f'expected a quarter of an hour like "17:30", found {str(value)[:40]!r}')
    return minutes


Clock = Annotated[int, BeforeValidator(_minutes)]
Window = Annotated[list[Clock], Field(min_length=2, max_length=2)]


class HolidayOptions(Options):
    """Days that are priced like a Sunday: the national ones, and what is named here."""

    state: Annotated[str, Field(pattern=r"^([A-Z]{2})?$")] = ""
    carnival: bool = True
    corpus_christi: bool = True
    extra: Annotated[list[date], Field(max_length=400)] = Field(default_factory=list)


class EnergyPrice(Options):
    """One kWh: the distribution part (TUSD) and the energy part (TE)."""

    tusd_brl_kwh: Brl
    te_brl_kwh: Brl = 0.0


class EnergyOptions(Options):
    """Prices by post. `off_peak` is the only one of the flat tariff."""

    off_peak: EnergyPrice
    intermediate: EnergyPrice | None = None
    peak: EnergyPrice | None = None


class PostHours(Options):
    """When peak and intermediate are on working days; the rest is off-peak."""

    peak: Window
    intermediate: Annotated[list[Window], Field(max_length=4)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _in_order(self) -> PostHours:
        windows = sorted([self.peak, *self.intermediate])
        for first, last in windows:
            if last <= first:
                raise ValueError("expected windows that end after they begin, on the same day")
        if any(earlier[1] > later[0] for earlier, later in itertools.pairwise(windows)):
            raise ValueError("expected windows that do not overlap")
        return self


class DemandOptions(Options):
    """R$/kW. `single` for verde; `peak` and `off_peak` for azul."""

    single_brl_kw: Brl | None = None
    peak_brl_kw: Brl | None = None
    off_peak_brl_kw: Brl | None = None
    tolerance: Annotated[float, Field(ge=1, le=2)] = 1.05
    overshoot_factor: Annotated[float, Field(ge=0, le=10)] = 2.0


class ReactiveOptions(Options):
    """Reactive excess of group A. `capacitive`: the hours in which only capacitive excess counts."""

    energy_brl_kwh: Brl
    demand_brl_kw: Brl | None = None
    power_factor_min: Annotated[float, Field(gt=0, lt=1)] = 0.92
    capacitive: Window = Field(default_factory=lambda: [0, 360])


class VersionOptions(Options):
    """One table of prices, as ANEEL approves it once a year."""

    valid_from: date
    source: Annotated[str, Field(max_length=300)] = ""
    posts: PostHours | None = None
    energy: EnergyOptions
    demand: DemandOptions | None = None
    reactive: ReactiveOptions | None = None


class TaxOptions(Options):
    """Taxes are inside the price. "together": p / (1 - icms - pis - cofins); "chained": ICMS is not in the
    base of the other two, p / ((1 - icms)(1 - pis - cofins)); "none": the prices are those of the bill."""

    valid_from: date
    method: Literal["none", "together", "chained"] = "chained"
    icms: Rate = 0.0
    pis: Rate = 0.0
    cofins: Rate = 0.0
    icms_on_unused_demand: bool = False
    public_lighting_brl: Brl = 0.0

    @model_validator(mode="after")
    def _leaves_a_price(self) -> TaxOptions:
        if self.icms + self.pis + self.cofins >= 1:
            raise ValueError("expected taxes below 1 in all (18 % is 0.18)")
        return self


class ContractOptions(Options):
    """What the site has agreed on. kW for group A; `minimum_kwh` is what group B pays at least."""

    valid_from: date
    demand_kw: Kw | None = None
    peak_demand_kw: Kw | None = None
    off_peak_demand_kw: Kw | None = None
    minimum_kwh: Annotated[float, Field(ge=0, le=10_000)] = 0.0


Dated = TypeVar("Dated", VersionOptions, TaxOptions, ContractOptions, "FlagPrice")


class TariffFile(Options):
    """The whole file."""

    label: Annotated[str, Field(min_length=1, max_length=128)]
    modality: Modality
    source: Annotated[str, Field(min_length=1, max_length=300)]
    example: bool = False
    timezone: str = "America/Sao_Paulo"
    flags: bool = True
    flag_when_unknown: Flag = "green"
    holidays: HolidayOptions = HolidayOptions()
    version: Annotated[list[VersionOptions], Field(min_length=1, max_length=100)]
    tax: Annotated[list[TaxOptions], Field(max_length=400)] = Field(default_factory=list)
    contract: Annotated[list[ContractOptions], Field(max_length=100)] = Field(default_factory=list)

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"expected a time zone like 'America/Manaus', found {name!r}") from error
        return name

    @field_validator("version", "tax", "contract")
    @classmethod
    def _by_date(cls, tables: list[Dated]) -> list[Dated]:
        return _in_order(tables)

    @model_validator(mode="after")
    def _fits_its_modality(self) -> TariffFile:
        wrong = [
            f"version[{at}]: {text}"
            for at, version in enumerate(self.version)
            for text in _contradictions(self.modality, version)
        ]
        for at, contract in enumerate(self.contract):
            wrong += [
                f"contract[{at}].{key}: {self.modality} needs it"
                for key in CONTRACT_KEYS[self.modality]
                if getattr(contract, key) is None
            ]
        if CONTRACT_KEYS[self.modality] and not self.contract:
            wrong.append(f"contract: {self.modality} needs {', '.join(CONTRACT_KEYS[self.modality])}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


CONTRACT_KEYS: dict[str, tuple[str, ...]] = {
    "convencional": (),
    "branca": (),
    "verde": ("demand_kw",),
    "azul": ("peak_demand_kw", "off_peak_demand_kw"),
}
DEMAND_KEYS: dict[str, tuple[str, ...]] = {
    "verde": ("single_brl_kw",),
    "azul": ("peak_brl_kw", "off_peak_brl_kw"),
}


def _contradictions(modality: str, version: VersionOptions) -> Iterator[str]:
    """What this table lacks or has too much for its modality."""
    posted, three = modality != "convencional", modality == "branca"
    for name, wanted, found in (
        ("posts", posted, version.posts),
        ("energy.peak", posted, version.energy.peak),
        ("energy.intermediate", three, version.energy.intermediate),
        ("demand", modality in DEMAND_KEYS, version.demand),
    ):
        if wanted != (found is not None):
            yield f"{name}: {modality} {'needs it' if wanted else 'has none'}"
    if version.reactive and modality not in DEMAND_KEYS:
        yield f"reactive: {modality} has none, reactive excess is charged in group A only"
    if version.posts and bool(version.posts.intermediate) != three:
        yield f"posts.intermediate: {modality} {'needs it' if three else 'has none'}"
    for key in DEMAND_KEYS.get(modality, ()):
        if version.demand and getattr(version.demand, key) is None:
            yield f"demand.{key}: {modality} needs it"


class FlagPrice(Options):
    """R$ per 100 kWh before taxes."""

    valid_from: date
    source: Annotated[str, Field(max_length=300)] = ""
    green: Brl = 0.0
    yellow: Brl
    red_1: Brl
    red_2: Brl


class FlagFile(Options):
    """Which flag (bandeira) each month had, and what each costs."""

    price: Annotated[list[FlagPrice], Field(min_length=1, max_length=100)]
    month: dict[Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")], Flag]

    @field_validator("price")
    @classmethod
    def _by_date(cls, tables: list[FlagPrice]) -> list[FlagPrice]:
        return _in_order(tables)


def _in_order(tables: list[Dated]) -> list[Dated]:
    """Dated tables, each later than the one before: the last that has begun is the one that holds."""
    dates = [table.valid_from for table in tables]
    if any(later <= earlier for earlier, later in itertools.pairwise(dates)):
        raise ValueError("expected tables in the order of valid_from, each date once")
    return tables
