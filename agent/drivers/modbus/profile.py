"""What a Modbus datasheet says: where each value lies and how it is coded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from agent.drivers.modbus import codec
from agent.drivers.modbus.plan import Block, Span, Table, plan
from agent.drivers.profile import POINTS_PER_GROUP_MAX, PointOptions
from agent.schema import Name, Options


class ModbusPoint(PointOptions):
    """A register. `address` is as on the wire: 0-based, without the 3xxxx/4xxxx digit."""

    address: Annotated[int, Field(ge=0, le=65535)]
    table: Table | None = None
    type: codec.Type | None = None
    order: codec.Order | None = None
    scale: Annotated[float, Field(description="value = raw x scale + offset")] = 1
    offset: float = 0
    invalid: Annotated[list[int], Field(max_length=8, description="raw values that mean: not available")] = (
        Field(default_factory=list)
    )


class ModbusGroup(Options):
    """Points that are read together, `interval_s` apart."""

    name: Name
    interval_s: Annotated[float, Field(ge=0.01, le=86400)] = 1.0
    point: Annotated[list[ModbusPoint], Field(min_length=1, max_length=POINTS_PER_GROUP_MAX)]


class ModbusProfile(Options):
    """A datasheet. `table`, `type` and `order` hold for every point that does not say otherwise."""

    driver: Literal["modbus"]
    title: str
    source: Annotated[list[str], Field(min_length=1)]
    table: Table = "holding"
    type: codec.Type = "u16"
    order: codec.Order = "ABCD"
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    max_gap: Annotated[int, Field(ge=0, le=124)] = 0
    group: Annotated[list[ModbusGroup], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _is_readable(self) -> ModbusProfile:
        names = [point.name for group in self.group for point in group.point]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"expected each point once, found twice: {', '.join(twice)}")
        for group in self.group:
            self.blocks(group)
        return self

    def blocks(self, group: ModbusGroup) -> tuple[Block, ...]:
        """The requests that read `group`."""
        spans = [
            Span(point.table or self.table, point.address, codec.words(point.type or self.type), index)
            for index, point in enumerate(group.point)
        ]
        return plan(spans, max_registers=self.max_registers, max_gap=self.max_gap)

    def decoders(self, group: ModbusGroup) -> list[codec.Decode]:
        """One decoder per point of `group`, in its order."""
        return [
            codec.decoder(
                point.type or self.type,
                point.order or self.order,
                scale=point.scale,
                offset=point.offset,
                invalid=point.invalid,
            )
            for point in group.point
        ]
