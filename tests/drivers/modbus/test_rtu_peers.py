"""RTU against servers that are not ours: pymodbus's serial server, and libmodbus in C."""

import asyncio
import contextlib
import ctypes
import ctypes.util
import os
import pty
import threading
import tty
from collections.abc import AsyncIterator, Iterator

import pytest
from pymodbus.server import ModbusSerialServer

from agent.demo.modbus_device import SimulatedDevice, profile_named
from agent.drivers.modbus.driver import ModbusLine
from agent.drivers.modbus.options import ModbusRtuOptions
from agent.drivers.modbus.profile import ModbusProfile
from agent.model import Quality
from tests.demo.listening import by_point, running

from .lines import profile_of, row


@contextlib.contextmanager
def cable() -> Iterator[tuple[str, str]]:
    """Two ports, joined: what goes into one comes out of the other."""
    ends = [pty.openpty() for _ in range(2)]
    for master, slave in ends:
        tty.setraw(slave)
        os.set_blocking(master, True)
    (one, one_port), (other, other_port) = ends
    for source, target in ((one, other), (other, one)):
        threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()
    try:
        yield os.ttyname(one_port), os.ttyname(other_port)
    finally:
        for file in (one_port, other_port):
            os.close(file)


def _pass_on(source: int, target: int) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(source, 4096):
            os.write(target, data)
    os.close(source)


def line_at(port: str, profile: ModbusProfile, unit_id: int = 1, **options: object) -> ModbusLine:
    config = {"driver": "modbus-rtu", "name": "bus", "port": port, "baudrate": 115200}
    config["device"] = [{"name": "d", "profile": "p", "unit_id": unit_id, "interval_s": 0.1}]
    return ModbusLine(ModbusRtuOptions.model_validate(config | options), {"p": profile})


@contextlib.asynccontextmanager
async def pymodbus_at(port: str, device: SimulatedDevice) -> AsyncIterator[None]:
    server = ModbusSerialServer([device.as_simdevice()], port=port, baudrate=115200)
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()


@pytest.mark.parametrize("name", ["eastron-sdm630", "schneider-pm5xxx", "intesis-ac"])
async def test_pymodbus_serial_server(name: str) -> None:
    device = SimulatedDevice(name)
    wanted = {point: float(at) for at, point in enumerate(device.points, 1)}
    device.update(
        {point: min(value, 1.0) if "power_factor" in point else value for point, value in wanted.items()}
    )
    with cable() as (ours, theirs):
        async with pymodbus_at(theirs, device), running(line_at(ours, profile_named(name)).run) as listener:
            for group in device.profile.group:
                for point, value in (await listener.values(group.name)).items():
                    assert value == device.get(point), point


class LibModbus:
    """A libmodbus RTU server in a thread: 40 registers of each kind (value 100 + address), 40 bits."""

    COUNT = 40

    def __init__(self, port: str, unit_id: int) -> None:
        found = ctypes.util.find_library("modbus")
        assert found, "libmodbus5 is missing: make test installs mbpoll, which brings it"
        self._lib = lib = ctypes.CDLL(found, use_errno=True)
        lib.modbus_new_rtu.restype = lib.modbus_mapping_new.restype = ctypes.c_void_p
        lib.modbus_new_rtu.argtypes = [
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_char,
            ctypes.c_int,
            ctypes.c_int,
        ]
        for name in ("modbus_set_slave", "modbus_set_debug"):
            getattr(lib, name).argtypes = [ctypes.c_void_p, ctypes.c_int]
        lib.modbus_connect.argtypes = lib.modbus_close.argtypes = [ctypes.c_void_p]
        lib.modbus_free.argtypes = lib.modbus_mapping_free.argtypes = [ctypes.c_void_p]
        lib.modbus_receive.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        lib.modbus_reply.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
        lib.modbus_set_indication_timeout.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32]
        self._context = lib.modbus_new_rtu(port.encode(), 115200, b"N", 8, 1)
        lib.modbus_set_slave(self._context, unit_id)
        assert lib.modbus_connect(self._context) == 0, os.strerror(ctypes.get_errno())
        lib.modbus_set_indication_timeout(self._context, 0, 200_000)
        self._mapping = lib.modbus_mapping_new(self.COUNT, self.COUNT, self.COUNT, self.COUNT)
        self._fill()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _fill(self) -> None:
        class Mapping(ctypes.Structure):  # modbus_mapping_t of libmodbus 3.1
            _fields_ = [
                *(
                    (name, ctypes.c_int)
                    for name in ("nb_bits", "start_bits", "nb_input_bits", "start_input_bits")
                ),
                *((name, ctypes.c_int) for name in ("nb_input_registers", "start_input_registers")),
                *((name, ctypes.c_int) for name in ("nb_registers", "start_registers")),
                *((name, ctypes.POINTER(ctypes.c_uint8)) for name in ("bits", "input_bits")),
                *((name, ctypes.POINTER(ctypes.c_uint16)) for name in ("input_registers", "registers")),
            ]

        self.mapping = Mapping.from_address(self._mapping)
        for at in range(self.COUNT):
            self.mapping.registers[at] = self.mapping.input_registers[at] = 100 + at
            self.mapping.bits[at] = self.mapping.input_bits[at] = at % 3 == 0

    def __enter__(self) -> "LibModbus":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._lib.modbus_close(self._context)
        self._lib.modbus_mapping_free(self._mapping)
        self._lib.modbus_free(self._context)

    def _serve(self) -> None:
        query = ctypes.create_string_buffer(260)
        while not self._stop.is_set():
            size = self._lib.modbus_receive(self._context, query)
            if size > 0:
                self._lib.modbus_reply(self._context, query, size, self._mapping)


ALL_TABLES = profile_of(
    [
        *({"name": f"h{at}", "address": at} for at in range(20)),
        *({"name": f"i{at}", "address": at, "table": "input"} for at in range(40)),
        *({"name": f"c{at}", "address": at, "table": "coil"} for at in range(40)),
        *({"name": f"d{at}", "address": at, "table": "discrete"} for at in range(3, 12)),
    ]
)


async def test_libmodbus_all_four_tables() -> None:
    with cable() as (ours, theirs), LibModbus(theirs, 5):
        async with running(line_at(ours, ALL_TABLES, 5).run) as listener:
            values = by_point(await listener.until(lambda reading: reading.quality is Quality.GOOD))
    for point, value in values.items():
        at = int(point[1:])
        assert value == (100 + at if point[0] in "hi" else at % 3 == 0), point


async def test_libmodbus_has_fewer_registers_than_the_profile_says() -> None:
    """Registers 38-41, of which 40 and 41 do not exist: exception 2, halved, the two are told."""
    profile = profile_of(row(4, 38))
    with cable() as (ours, theirs), LibModbus(theirs, 5):
        line = line_at(ours, profile, 5)
        async with running(line.run) as listener:
            await listener.until(lambda reading: reading.quality is Quality.UNCERTAIN)
            values = by_point(await listener.until(lambda reading: reading.quality is Quality.UNCERTAIN))
        assert (values["r0"], values["r1"]) == (138, 139)
        assert values["r2"] != values["r2"]
        assert line.statistics()["devices"]["d"]["refused"] == ["r2", "r3"]


async def test_libmodbus_takes_writes_of_every_function() -> None:
    on_silence = {"writable": True, "on_silence": "keeps it", "readback": True, "readback_s": 2.0}
    profile = profile_of(
        [
            {"name": "one", "address": 1, **on_silence},
            {"name": "many", "address": 2, "write_function": 16, **on_silence},
            {"name": "wide", "address": 4, "type": "f32", "order": "CDAB", **on_silence},
            {"name": "field", "address": 6, "mask": 0x00F0, **on_silence},
            {"name": "coil", "address": 1, "table": "coil", **on_silence},
            {"name": "coils", "address": 2, "table": "coil", "write_function": 15, **on_silence},
        ]
    )
    wanted = {"one": 7.0, "many": 8.0, "wide": 60.25, "field": 9.0, "coil": 1.0, "coils": 1.0}
    with cable() as (ours, theirs), LibModbus(theirs, 5) as server:
        line = line_at(ours, profile, 5)
        async with running(line.run) as listener:
            await listener.until(lambda reading: reading.quality is Quality.GOOD)
            for point, value in wanted.items():
                await asyncio.wait_for(line.write("d", point, value), 5)
            assert (server.mapping.registers[1], server.mapping.registers[2]) == (7, 8)
            assert server.mapping.registers[6] == 106 & ~0x00F0 | 0x0090
            assert (server.mapping.bits[1], server.mapping.bits[2]) == (1, 1)
            assert by_point(await listener.until(lambda reading: True)) == wanted
