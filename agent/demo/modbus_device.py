"""A simulated Modbus device: a register image made from a profile, and nothing shared with the driver.

Rules: `set` takes engineering values and puts them in registers as the profile says the real device
does; what is read is exactly what was set last. Holes up to the profile's `max_gap` read 0, longer
requests than `max_registers` get exception 3, any other address exception 2 (of bits, pymodbus tells only
which 16 a request touches: one of them must exist). Encoding is written here anew, not borrowed from the
driver's codec: one of the two being wrong must show.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import struct
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from pymodbus.constants import ExcCodes
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.drivers.modbus.profile import ModbusPoint, ModbusProfile
from agent.drivers.profile import find
from agent.schema import read

_SHAPES = {
    "u16": ">H", "s16": ">h", "u32": ">I", "s32": ">i",
    "u64": ">Q", "s64": ">q", "f32": ">f", "f64": ">d", "bool": ">H",
}  # fmt: skip
_TABLES = {
    1: "coil", 2: "discrete", 3: "holding", 4: "input", 5: "coil", 6: "holding", 15: "coil", 16: "holding",
}  # fmt: skip
_BIT_TABLES = ("coil", "discrete")


def profile_named(name: str) -> ModbusProfile:
    """A built-in profile. FaultyFile names the known ones if there is none of that name."""
    return read(ModbusProfile, find(name, ()))


class SimulatedDevice:
    """One unit behind a `SimulatedLine`.

    `writable` points may be written over Modbus: `on_write(point, value)` then hears the engineering
    value, and by a ValueError refuses it (exception 3, the register keeps its value).
    """

    def __init__(
        self,
        profile: ModbusProfile | str,
        unit_id: int = 1,
        *,
        writable: Iterable[str] = (),
        on_write: Callable[[str, float], None] = lambda point, value: None,
    ) -> None:
        self.profile = profile_named(profile) if isinstance(profile, str) else profile
        self.unit_id = unit_id
        self.latency_s = 0.0
        self.requests = 0
        self._on_write = on_write
        self._registers = {
            point.name: _Register(self.profile, point)
            for group in self.profile.group
            for point in group.point
        }
        self._decode = {
            point.name: decode
            for group in self.profile.group
            for point, decode in zip(group.point, self.profile.decoders(group), strict=True)
        }
        self._writable = {
            (self._registers[point].table, address): point
            for point in writable
            for address in self._registers[point].addresses
        }
        self._refused: set[tuple[str, int]] = set()
        self._image = _image(self._registers.values(), self.profile.max_gap)

    @property
    def points(self) -> tuple[str, ...]:
        return tuple(self._registers)

    def set(self, point: str, value: float) -> None:
        """Put an engineering value in the registers of a point. NaN is coded as the device codes "none".

        ValueError if the registers cannot hold it; KeyError if the profile has no such point.
        """
        register = self._registers[point]
        image = self._image[register.table]
        was = [image[address] for address in register.addresses]
        words = register.encode(value / 10.0 ** self._exponent(register), was)
        image.update(zip(register.addresses, words, strict=True))

    def update(self, values: Mapping[str, float]) -> None:
        """Set several points at once: no request is answered between them."""
        for point, value in values.items():
            self.set(point, value)

    def get(self, point: str) -> float:
        """The engineering value that the registers of a point hold now."""
        register = self._registers[point]
        image = self._image[register.table]
        value = self._decode[point]([image[address] for address in register.addresses], 0)
        exponent = self._exponent(register)
        return value * 10.0**exponent if exponent >= 0 else value / 10.0**-exponent

    def _exponent(self, register: _Register) -> int:
        """What the scale register of a point holds; a test puts it there with `set_registers`."""
        if register.scale_register is None:
            return 0
        raw = self._image[register.table][register.scale_register]
        return raw - 65536 if raw > 32767 else raw

    def set_registers(self, table: str, address: int, values: Iterable[int]) -> None:
        """Put raw 16-bit values from `address` on, whatever the profile says of them."""
        self._image[table].update(enumerate(values, address))

    def refuse(self, *points: str) -> None:
        """Answer exception 2 to every request that touches these points; `refuse()` ends that."""
        self._refused = {
            (self._registers[point].table, address)
            for point in points
            for address in self._registers[point].addresses
        }

    def as_simdevice(self) -> SimDevice:
        """The device as pymodbus's server wants it; every request comes to `_answer`."""
        mapped = [
            address // 16 if table in _BIT_TABLES else address
            for table, image in self._image.items()
            for address in image
        ]
        first, count = min(mapped), max(mapped) - min(mapped) + 1
        data = SimData(first, count=count, values=0, datatype=DataType.REGISTERS)
        return SimDevice(self.unit_id, [data], use_bit_addressing=True, action=self._answer)

    async def _answer(  # noqa: PLR0917 - pymodbus fixes the signature
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Called by pymodbus for each request; `registers` is what it then answers from."""
        self.requests += 1
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        table = _TABLES.get(function, "")
        image = self._image.get(table)
        if image is None:
            return ExcCodes.ILLEGAL_FUNCTION
        if table in _BIT_TABLES:
            return self._answer_bits(table, start, address, count, registers, values)
        if count > self.profile.max_registers:
            return ExcCodes.ILLEGAL_VALUE
        wanted = range(address, address + count)
        if any(each not in image or (table, each) in self._refused for each in wanted):
            return ExcCodes.ILLEGAL_ADDRESS
        if values:
            return self._write(table, dict(zip(wanted, map(int, values), strict=True)))
        registers[address - start : address - start + count] = [image[each] for each in wanted]
        return None

    def _answer_bits(  # noqa: PLR0917 - as above
        self,
        table: str,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """`count` registers of 16 bits each are touched, from the one that holds bit `address` on."""
        image, first = self._image[table], address // 16
        touched = range(16 * first, 16 * (first + count))
        if not any(each in image for each in touched) or any(
            (table, each) in self._refused for each in touched
        ):
            return ExcCodes.ILLEGAL_ADDRESS
        if values and (refusal := self._write(table, dict(enumerate(map(int, values), address)))):
            return refusal
        for at in range(first, first + count):
            bits = (image.get(16 * at + bit, 0) << bit for bit in range(16))
            registers[at - start] = sum(bits)
        return None

    def _write(self, table: str, values: Mapping[int, int]) -> ExcCodes | None:
        if any((table, address) not in self._writable for address in values):
            return ExcCodes.ILLEGAL_ADDRESS
        image = self._image[table]
        before = dict(image)
        image.update(values)
        try:
            for point in dict.fromkeys(self._writable[table, address] for address in values):
                self._on_write(point, self.get(point))
        except ValueError:
            image.update(before)
            return ExcCodes.ILLEGAL_VALUE
        return None


class _Register:
    """Where and how one point lies in the registers."""

    def __init__(self, profile: ModbusProfile, point: ModbusPoint) -> None:
        self._point = point
        self.table: str = point.table or profile.table
        self._is_bit = self.table in _BIT_TABLES
        self._kind = "bool" if self._is_bit else point.type or profile.type
        self._order = "ABCD" if self._is_bit else point.order or profile.order
        self._mask = point.mask or (2**point.bit if point.bit is not None else 0)
        self.scale_register = point.scale_register
        self.addresses = range(point.address, point.address + struct.calcsize(_SHAPES[self._kind]) // 2)

    def encode(self, value: float, was: Iterable[int]) -> list[int]:
        """The registers that hold `value`; a masked value leaves the other bits as they were."""
        raw = self._raw(value)
        if self._mask:
            whole = int.from_bytes(self._ordered(struct.pack(f">{len(self.addresses)}H", *was)), "big")
            shift = (self._mask & -self._mask).bit_length() - 1
            raw = whole & ~self._mask | int(raw) << shift & self._mask
        try:
            data = struct.pack(_SHAPES[self._kind], raw)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{self._point.name}: {value} does not fit in {self._kind}: {error}") from error
        return list(struct.unpack(f">{len(data) // 2}H", self._ordered(data)))

    def _ordered(self, data: bytes) -> bytes:
        """From most significant first to the order on the wire, or back."""
        if self._order in ("CDAB", "DCBA"):
            data = b"".join(data[at : at + 2] for at in range(len(data) - 2, -1, -2))
        if self._order in ("BADC", "DCBA"):
            data = b"".join(bytes((low, high)) for high, low in zip(data[::2], data[1::2], strict=True))
        return data

    def _raw(self, value: float) -> float | int:
        if self._kind in ("f32", "f64"):
            return (value - self._point.offset) / self._point.scale
        if not math.isfinite(value):
            if not self._point.invalid:
                raise ValueError(f"{self._point.name}: the profile has no raw value for {value}")
            return self._point.invalid[0]
        scale, offset = Decimal(str(self._point.scale)), Decimal(str(self._point.offset))
        return round((Decimal(str(value)) - offset) / scale)


def _image(registers: Iterable[_Register], max_gap: int) -> dict[str, dict[int, int]]:
    """Table to address to value, all 0: the registers of the points, and holes up to `max_gap`."""
    image: dict[str, dict[int, int]] = {"coil": {}, "discrete": {}, "holding": {}, "input": {}}
    for register in registers:
        image[register.table].update(dict.fromkeys(register.addresses, 0))
        if register.scale_register is not None:
            image[register.table].setdefault(register.scale_register, 0)
    for table in image.values():
        known = sorted(table)
        for low, high in itertools.pairwise(known):
            if high - low - 1 <= max_gap:
                table.update(dict.fromkeys(range(low + 1, high), 0))
    return image
