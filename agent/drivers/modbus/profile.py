"""What a Modbus datasheet says: where each value lies, how it is coded, and what may be written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from agent.drivers.modbus import codec
from agent.drivers.modbus.fingerprint import Fingerprint, SerialSettings
from agent.drivers.modbus.pdu import BITS_MAX, Table, is_bit_table
from agent.drivers.modbus.plan import Block, Span, plan
from agent.drivers.profile import POINTS_PER_GROUP_MAX, Offset, Said, Scale, Sources, WritablePointOptions
from agent.schema import Name, Options

EXPONENT = codec.Coding(kind="s16", invalid=(-32768,))
Address = Annotated[int, Field(ge=0, le=65535)]


class ModbusPoint(WritablePointOptions):
    """A register or a bit. `address` is as on the wire: 0-based, without the 3xxxx/4xxxx digit."""

    address: Address
    table: Table | None = None
    type: codec.Type | None = None
    order: codec.Order | None = None
    scale: Annotated[Scale, Field(description="value = raw x scale + offset")] = 1
    offset: Offset = 0
    invalid: Annotated[list[int], Field(max_length=8, description="raw values that mean: not available")] = (
        Field(default_factory=list)
    )
    bit: Annotated[int, Field(ge=0, le=63)] | None = None
    mask: Annotated[int, Field(ge=1, le=2**64 - 1)] | None = None
    conversion: codec.Conversion | None = None
    scale_register: Address | None = None
    write_function: Literal[5, 6, 15, 16] | None = None
    readback: bool = False
    readback_s: Annotated[float, Field(ge=0.1, le=120)] = 5.0

    @model_validator(mode="after")
    def _is_consistent(self) -> ModbusPoint:
        if self.bit is not None and self.mask is not None:
            raise ValueError("expected bit or mask, found both")
        return self

    @classmethod
    def keys_of_writing(cls) -> tuple[str, ...]:
        return (*super().keys_of_writing(), "write_function", "readback", "readback_s")


class ModbusGroup(Options):
    """Points that are read together, `interval_s` apart."""

    name: Name
    interval_s: Annotated[float, Field(ge=0.01, le=86400)] = 1.0
    point: Annotated[list[ModbusPoint], Field(min_length=1, max_length=POINTS_PER_GROUP_MAX)]


class ModbusProfile(Options):
    """A datasheet. `table`, `type` and `order` hold for every point that does not say otherwise."""

    driver: Literal["modbus"]
    title: Said
    source: Sources
    table: Table = "holding"
    type: codec.Type = "u16"
    order: codec.Order = "ABCD"
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    max_bits: Annotated[int, Field(ge=1, le=BITS_MAX)] = BITS_MAX
    max_gap: Annotated[int, Field(ge=0, le=124)] = 0
    delay_ms: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    serial: Annotated[list[SerialSettings], Field(max_length=8)] = Field(default_factory=list)
    fingerprint: Annotated[list[Fingerprint], Field(max_length=8)] = Field(default_factory=list)
    group: Annotated[list[ModbusGroup], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _is_readable(self) -> ModbusProfile:
        names = [point.name for group in self.group for point in group.point]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"expected each point once, found twice: {', '.join(twice)}")
        for group in self.group:
            for point in group.point:
                _check_place(point, self.table_of(point), self.coding(point))
                self._check_values(point)
            self.blocks(group)
        return self

    def _check_values(self, point: ModbusPoint) -> None:
        """ValueError if a limit, a step or a code is a value that the registers can never hold."""
        said = {f"states.{code}": float(code) for code in point.states}
        if point.writable:
            ends = {"min": point.min, "max": point.max}
            said |= {key: value for key, value in ends.items() if value is not None}
            said |= {"min + step": (point.min or 0.0) + point.step} if point.step else {}
        for key, value in said.items():
            try:
                self.check_write(point, value)
            except ValueError as error:
                raise ValueError(f"point {point.name}: {key}: {error}") from None

    def table_of(self, point: ModbusPoint) -> Table:
        """Where a point lies."""
        return point.table or self.table

    def coding(self, point: ModbusPoint) -> codec.Coding:
        """How a point is coded; a bit of a bit table is a bool."""
        bits = is_bit_table(self.table_of(point))
        return codec.Coding(
            kind=point.type or ("bool" if bits else self.type),
            order="ABCD" if bits else point.order or self.order,
            scale=point.scale,
            offset=point.offset,
            invalid=tuple(point.invalid),
            mask=point.mask or (1 << point.bit if point.bit is not None else 0),
            conversion=point.conversion,
        )

    def check_write(self, point: ModbusPoint, value: float) -> None:
        """ValueError if `value` does not fit the point's registers; with a scale register any may."""
        if point.scale_register is None:
            codec.encode(self.coding(point), value)

    def width(self, point: ModbusPoint) -> int:
        """How many registers (or bits) a point takes."""
        return codec.words(self.coding(point).kind)

    def exponents(self, group: ModbusGroup) -> dict[tuple[Table, int], int]:
        """The scale registers of `group`: where each is read, and its slot behind those of the points."""
        places = sorted(
            {
                (self.table_of(each), each.scale_register)
                for each in group.point
                if each.scale_register is not None
            }
        )
        return {place: len(group.point) + at for at, place in enumerate(places)}

    def blocks(self, group: ModbusGroup) -> tuple[Block, ...]:
        """The requests that read `group`, its scale registers included."""
        spans = [
            Span(self.table_of(point), point.address, self.width(point), index)
            for index, point in enumerate(group.point)
        ]
        spans += [Span(table, at, 1, slot) for (table, at), slot in self.exponents(group).items()]
        return plan(spans, max_registers=self.max_registers, max_gap=self.max_gap, max_bits=self.max_bits)

    def codings(self, group: ModbusGroup) -> list[codec.Coding]:
        """One coding per slot of `group`: its points in their order, then its scale registers."""
        return [self.coding(point) for point in group.point] + [EXPONENT] * len(self.exponents(group))

    def decoders(self, group: ModbusGroup) -> list[codec.Decode]:
        """One decoder per point of `group`, in its order, without scale registers."""
        return [codec.decoder(self.coding(point)) for point in group.point]


def _check_place(point: ModbusPoint, table: Table, coding: codec.Coding) -> None:
    """ValueError if what a point says does not go together with where it lies."""
    where, bits = f"point {point.name}", is_bit_table(table)
    if bits and (
        coding.kind != "bool" or coding.mask or point.scale_register is not None or not coding.is_plain
    ):
        raise ValueError(f"{where}: a {table} is one bit: no type, scale, bit, mask or scale register")
    if coding.mask and (
        coding.kind not in ("u16", "u32", "u64") or coding.mask >> 16 * codec.words(coding.kind)
    ):
        raise ValueError(f"{where}: expected bit or mask inside a u16, u32 or u64, found {coding.kind}")
    if coding.conversion and not coding.is_float:
        raise ValueError(f"{where}: conversion {coding.conversion}: expected type f32 or f64")
    if point.address + codec.words(coding.kind) > 65536:
        raise ValueError(f"{where}: expected all its registers below 65536")
    if point.writable:
        _check_write(point, table, coding, where)


def _check_write(point: ModbusPoint, table: Table, coding: codec.Coding, where: str) -> None:
    if table in ("discrete", "input"):
        raise ValueError(f"{where}: writable: expected a coil or a holding register, found table {table}")
    if coding.conversion:
        raise ValueError(f"{where}: writable: a value with a conversion cannot be written")
    allowed = (5, 15) if table == "coil" else (6, 16) if codec.words(coding.kind) == 1 else (16,)
    if point.write_function and point.write_function not in allowed:
        raise ValueError(f"{where}: write_function: expected {' or '.join(map(str, allowed))}")
