"""Registers through a profile, as the tests of profiles need it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from agent.drivers.modbus import codec
from agent.drivers.modbus.profile import ModbusPoint, ModbusProfile
from agent.drivers.profile import BUILT_IN
from agent.drivers.push import PushProfile
from agent.drivers.serial.profile import SerialProfile
from agent.drivers.sma.speedwire import SmaProfile
from agent.drivers.udp import UdpProfile
from agent.schema import load_toml, read

MODELS: dict[str, type[Any]] = {
    "modbus": ModbusProfile,
    "udp": UdpProfile,
    "serial": SerialProfile,
    "sma-speedwire": SmaProfile,
    "push": PushProfile,
}
FILES = sorted(BUILT_IN.glob("*.toml"))
Profile = ModbusProfile | UdpProfile | SerialProfile | SmaProfile | PushProfile


def modbus(name: str) -> ModbusProfile:
    return read(ModbusProfile, BUILT_IN / f"{name}.toml")


def profile_in(file: Path) -> Profile:
    profile: Profile = read(MODELS[load_toml(file)["driver"]], file)
    return profile


def points(profile: ModbusProfile) -> dict[str, ModbusPoint]:
    return {point.name: point for group in profile.group for point in group.point}


def decode(profile: ModbusProfile, registers: dict[int, int]) -> dict[str, float]:
    """What the points fully inside `registers` (address to value) read."""
    values = {}
    for name, point in points(profile).items():
        coding = profile.coding(point)
        span = range(point.address, point.address + codec.words(coding.kind))
        if all(address in registers for address in span):
            values[name] = codec.decoder(coding)([registers[address] for address in span], 0)
    return values


def words(text: str, address: int = 0) -> dict[int, int]:
    """Bytes in hexadecimal as registers from `address` on."""
    data = bytes.fromhex(text)
    return dict(enumerate(struct.unpack(f">{len(data) // 2}H", data), address))


def crc(data: bytes) -> int:
    """CRC-16/MODBUS, bit by bit: not the agent's own."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value


def answer(frame: str, address: int = 0) -> dict[int, int]:
    """The registers of a captured RTU answer whose request began at `address`; its check is verified."""
    data = bytes.fromhex(frame)
    assert crc(data[:-2]) == int.from_bytes(data[-2:], "little")
    assert data[1] in (3, 4)
    assert data[2] == len(data) - 5
    return words(data[3:-2].hex(), address)
