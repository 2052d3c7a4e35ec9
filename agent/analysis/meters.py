"""Which devices are meters, and which of their points say what: from the points alone, by the names that
docs/profiles.md asks profiles to use. Pure, without numpy.

A quantity that a meter does not give is an empty tuple. Powers and energies in kilo units are taken as they
are: `factor` says what turns a point's values into the base unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from agent.model import Device, Group, Kind, Point

PHASES = ("l1", "l2", "l3")
LINES = ("l1_l2", "l2_l3", "l3_l1")
_FACTORS = {"k": 1e3, "M": 1e6}


class Quantity(NamedTuple):
    """A point and what turns its values into the base unit (V, A, W, var, Wh, varh, %, Hz)."""

    id: str
    factor: float = 1.0


Quantities = tuple[Quantity, ...]


@dataclass(frozen=True, slots=True)
class Meter:
    """One device. Voltages, THD: of each phase (three, or one of a single-phase meter). `active_power_w`,
    `reactive_power_var`: the total alone, or the phases to be added. Energies: one counter, or three."""

    device: Device
    voltage_v: Quantities = ()
    line_voltage_v: Quantities = ()
    current_a: Quantities = ()
    active_power_w: Quantities = ()
    reactive_power_var: Quantities = ()
    thd_voltage_percent: Quantities = ()
    frequency_hz: Quantities = ()
    import_wh: Quantities = ()
    export_wh: Quantities = ()

    @property
    def phases(self) -> int:
        """How many voltages to neutral it gives; 0: none."""
        return len(self.voltage_v)

    @property
    def measures_energy(self) -> bool:
        """Whether a bill can be made from it."""
        return bool(self.active_power_w or self.import_wh)

    def ids(self, *names: str) -> set[str]:
        """The ids of all points of these quantities."""
        return {each.id for name in names for each in getattr(self, name)}


def meters(groups: Iterable[Group]) -> dict[str, Meter]:
    """The meters by the name of their device, in the order of `groups`. A device is one if it gives a
    voltage, an active power or an energy. The points of all of its groups are put together."""
    points: dict[str, dict[str, Point]] = {}
    devices: dict[str, Device] = {}
    for group in groups:
        devices[group.device.name] = group.device
        points.setdefault(group.device.name, {}).update({each.name: each for each in group.points})
    found = {name: _meter(device, points[name]) for name, device in devices.items()}
    return {
        name: meter
        for name, meter in found.items()
        if meter.voltage_v or meter.line_voltage_v or meter.measures_energy
    }


def quantity(device: Device, point: Point) -> Quantity:
    """A point and what turns its values into the base unit of its own ("kW": W)."""
    prefix = point.unit[:1] if len(point.unit) > 1 else ""
    return Quantity(f"{device.name}.{point.name}", _FACTORS.get(prefix, 1.0))


def _meter(device: Device, points: Mapping[str, Point]) -> Meter:
    def one(name: str, unit: str, kind: Kind = Kind.GAUGE) -> Quantities:
        point = points.get(name)
        if point is None or point.kind is not kind or not point.unit.endswith(unit):
            return ()
        prefix = point.unit.removesuffix(unit)
        if prefix not in ("", *_FACTORS):
            return ()
        return (Quantity(f"{device.name}.{name}", _FACTORS.get(prefix, 1.0)),)

    def phases(
        noun: str, unit: str, suffixes: tuple[str, ...] = PHASES, kind: Kind = Kind.GAUGE
    ) -> Quantities:
        each = [one(f"{noun}_{suffix}", unit, kind) for suffix in suffixes]
        return tuple(found[0] for found in each) if all(each) else ()

    def whole(noun: str, unit: str, kind: Kind = Kind.GAUGE) -> Quantities:
        return one(noun, unit, kind) or phases(noun, unit, kind=kind)

    return Meter(
        device,
        voltage_v=phases("voltage", "V") or one("voltage", "V") or one("voltage_l1", "V"),
        line_voltage_v=phases("voltage", "V", LINES),
        current_a=phases("current", "A") or one("current", "A") or one("current_l1", "A"),
        active_power_w=whole("active_power", "W"),
        reactive_power_var=whole("reactive_power", "var"),
        thd_voltage_percent=phases("thd_voltage", "%")
        or one("thd_voltage", "%")
        or one("thd_voltage_l1", "%"),
        frequency_hz=one("frequency", "Hz"),
        import_wh=whole("energy_import", "Wh", Kind.TOTAL),
        export_wh=whole("energy_export", "Wh", Kind.TOTAL),
    )
