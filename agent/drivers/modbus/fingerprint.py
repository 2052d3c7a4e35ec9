"""What tells one device type from another on the wire: registers whose values only it has.

For finding out what answers on a line, never for reading. `serial` of a profile says the settings that
such devices come with.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from agent.drivers.modbus import codec
from agent.drivers.modbus.pdu import Table
from agent.drivers.profile import Scale
from agent.schema import Options

SerialSettings = Annotated[str, Field(pattern=r"^(300|600|[1-9]\d{3,6}) [78][NEO][12]$")]


class Fingerprint(Options):
    """A register to look at; table, type and order as the profile's if not given.

    It fits if the raw value is in `one_of`, if raw x scale is between `min` and `max`, or, with
    `is_unit_id`, if it is the address that the device answers to.
    """

    address: Annotated[int, Field(ge=0, le=65535)]
    table: Table | None = None
    type: codec.Type | None = None
    order: codec.Order | None = None
    scale: Scale = 1
    one_of: Annotated[list[int], Field(max_length=32)] = Field(default_factory=list)
    min: float | None = None
    max: float | None = None
    is_unit_id: bool = False

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Fingerprint:
        between = self.min is not None and self.max is not None
        if sum((bool(self.one_of), between, self.is_unit_id)) != 1:
            raise ValueError("expected one of one_of, min with max, and is_unit_id")
        if 0 in self.one_of:
            raise ValueError("one_of: expected other values than 0: zeros prove nothing")
        return self
