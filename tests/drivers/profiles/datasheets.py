"""The register maps a second time, typed from the facts (device-facts section 1 to 3), not from the profiles.

Each point is (address on the wire, type, scale to the unit of the profile).
"""

from __future__ import annotations

from typing import NamedTuple

Place = tuple[int, str, float]


class Datasheet(NamedTuple):
    table: str
    order: str
    registers: dict[str, Place]
    max_registers: int
    delay_ms: float = 0.0


def listed(noun: str, addresses: list[int], kind: str, scale: float = 1) -> dict[str, Place]:
    """One address each for L1, L2, L3."""
    return {f"{noun}_l{at}": (address, kind, scale) for at, address in enumerate(addresses, 1)}


def numbered(registers: dict[str, Place]) -> dict[str, Place]:
    """Schneider prints numbers from 1: the wire has one less."""
    return {name: (number - 1, kind, scale) for name, (number, kind, scale) in registers.items()}


PZEM = Datasheet(
    "input", "CDAB",
    {
        "voltage": (0x0000, "u16", 0.1), "current": (0x0001, "u32", 0.001),
        "active_power": (0x0003, "u32", 0.1), "energy_import": (0x0005, "u32", 0.001),
        "frequency": (0x0007, "u16", 0.1), "power_factor": (0x0008, "u16", 0.01), "alarm": (0x0009, "u16", 1),
    },
    10, 200,
)  # fmt: skip
SDM120 = {
    "voltage": 0, "current": 6, "active_power": 12, "apparent_power": 18, "reactive_power": 24,
    "power_factor": 30, "frequency": 70, "energy_import": 72, "energy_export": 74,
    "reactive_energy_import": 76, "reactive_energy_export": 78,
    "active_power_demand": 84, "active_power_demand_max": 86,
}  # fmt: skip
SDM630 = {
    "voltage_l1": 0x0000, "voltage_l2": 0x0002, "voltage_l3": 0x0004,
    "current_l1": 0x0006, "current_l2": 0x0008, "current_l3": 0x000A,
    "active_power_l1": 0x000C, "active_power_l2": 0x000E, "active_power_l3": 0x0010,
    "apparent_power_l1": 0x0012, "apparent_power_l2": 0x0014, "apparent_power_l3": 0x0016,
    "reactive_power_l1": 0x0018, "reactive_power_l2": 0x001A, "reactive_power_l3": 0x001C,
    "power_factor_l1": 0x001E, "power_factor_l2": 0x0020, "power_factor_l3": 0x0022,
    "active_power": 0x0034, "apparent_power": 0x0038, "reactive_power": 0x003C,
    "power_factor": 0x003E, "frequency": 0x0046,
    "energy_import": 0x0048, "energy_export": 0x004A,
    "reactive_energy_import": 0x004C, "reactive_energy_export": 0x004E,
    "thd_voltage_l1": 0x00EA, "thd_voltage_l2": 0x00EC, "thd_voltage_l3": 0x00EE,
    "thd_current_l1": 0x00F0, "thd_current_l2": 0x00F2, "thd_current_l3": 0x00F4,
}  # fmt: skip
PM5XXX_NUMBERS: dict[str, Place] = {
    "current_l1": (3000, "f32", 1), "current_l2": (3002, "f32", 1), "current_l3": (3004, "f32", 1),
    "voltage_l1": (3028, "f32", 1), "voltage_l2": (3030, "f32", 1), "voltage_l3": (3032, "f32", 1),
    "voltage_unbalance": (3052, "f32", 1),
    "active_power_l1": (3054, "f32", 1000), "active_power_l2": (3056, "f32", 1000),
    "active_power_l3": (3058, "f32", 1000), "active_power": (3060, "f32", 1000),
    "reactive_power_l1": (3062, "f32", 1000), "reactive_power_l2": (3064, "f32", 1000),
    "reactive_power_l3": (3066, "f32", 1000), "reactive_power": (3068, "f32", 1000),
    "apparent_power_l1": (3070, "f32", 1000), "apparent_power_l2": (3072, "f32", 1000),
    "apparent_power_l3": (3074, "f32", 1000), "apparent_power": (3076, "f32", 1000),
    "power_factor_l1": (3078, "f32", 1), "power_factor_l2": (3080, "f32", 1),
    "power_factor_l3": (3082, "f32", 1), "power_factor": (3084, "f32", 1),
    "frequency": (3110, "f32", 1),
    "energy_import": (3204, "s64", 0.001), "energy_export": (3208, "s64", 0.001),
    "reactive_energy_import": (3220, "s64", 0.001), "reactive_energy_export": (3224, "s64", 0.001),
    "thd_current_l1": (21300, "f32", 1), "thd_current_l2": (21302, "f32", 1),
    "thd_current_l3": (21304, "f32", 1),
    "thd_voltage_l1": (21330, "f32", 1), "thd_voltage_l2": (21332, "f32", 1),
    "thd_voltage_l3": (21334, "f32", 1),
}  # fmt: skip
IEM3155: dict[str, Place] = {
    "current_l1": (0x0BB7, "f32", 1), "current_l2": (0x0BB9, "f32", 1), "current_l3": (0x0BBB, "f32", 1),
    "voltage_l1_l2": (0x0BCB, "f32", 1), "voltage_l2_l3": (0x0BCD, "f32", 1),
    "voltage_l3_l1": (0x0BCF, "f32", 1),
    "voltage_l1": (0x0BD3, "f32", 1), "voltage_l2": (0x0BD5, "f32", 1), "voltage_l3": (0x0BD7, "f32", 1),
    "active_power_l1": (0x0BED, "f32", 1000), "active_power_l2": (0x0BEF, "f32", 1000),
    "active_power_l3": (0x0BF1, "f32", 1000), "active_power": (0x0BF3, "f32", 1000),
    "reactive_power": (0x0BFB, "f32", 1000), "apparent_power": (0x0C03, "f32", 1000),
    "power_factor": (0x0C0B, "f32", 1), "frequency": (0x0C25, "f32", 1),
    "energy_import": (0x0C83, "s64", 0.001), "energy_export": (0x0C87, "s64", 0.001),
    "reactive_energy_import": (0x0C93, "s64", 0.001), "reactive_energy_export": (0x0C97, "s64", 0.001),
    "energy_import_l1": (0x0DBD, "s64", 0.001), "energy_import_l2": (0x0DC1, "s64", 0.001),
    "energy_import_l3": (0x0DC5, "s64", 0.001),
}  # fmt: skip
EM340: dict[str, Place] = {
    **listed("voltage", [0x00, 0x02, 0x04], "s32", 0.1),
    **listed("current", [0x0C, 0x0E, 0x10], "s32", 0.001),
    **listed("active_power", [0x12, 0x14, 0x16], "s32", 0.1),
    **listed("apparent_power", [0x18, 0x1A, 0x1C], "s32", 0.1),
    **listed("reactive_power", [0x1E, 0x20, 0x22], "s32", 0.1),
    "active_power": (0x28, "s32", 0.1),
    "apparent_power": (0x2A, "s32", 0.1),
    "reactive_power": (0x2C, "s32", 0.1),
    **listed("power_factor", [0x2E, 0x2F, 0x30], "s16", 0.001),
    "power_factor": (0x31, "s16", 0.001),
    "frequency": (0x33, "u16", 0.1),
    "energy_import": (0x34, "s32", 0.1),
    **listed("energy_import", [0x40, 0x42, 0x44], "s32", 0.1),
    "energy_export": (0x4E, "s32", 0.1),
}
B23: dict[str, Place] = {
    "energy_import": (0x5000, "u64", 0.01),
    "energy_export": (0x5004, "u64", 0.01),
    **listed("energy_import", [0x5460, 0x5464, 0x5468], "u64", 0.01),
    **listed("energy_export", [0x546C, 0x5470, 0x5474], "u64", 0.01),
    **listed("voltage", [0x5B00, 0x5B02, 0x5B04], "u32", 0.1),
    **listed("current", [0x5B0C, 0x5B0E, 0x5B10], "u32", 0.01),
    "current_n": (0x5B12, "u32", 0.01),
    "active_power": (0x5B14, "s32", 0.01),
    **listed("active_power", [0x5B16, 0x5B18, 0x5B1A], "s32", 0.01),
    "reactive_power": (0x5B1C, "s32", 0.01),
    **listed("reactive_power", [0x5B1E, 0x5B20, 0x5B22], "s32", 0.01),
    "apparent_power": (0x5B24, "s32", 0.01),
    **listed("apparent_power", [0x5B26, 0x5B28, 0x5B2A], "s32", 0.01),
    "frequency": (0x5B2C, "u16", 0.01),
    "power_factor": (0x5B3A, "s16", 0.001),
    **listed("power_factor", [0x5B3B, 0x5B3C, 0x5B3D], "s16", 0.001),
}
MD30 = {
    "frequency": 66,
    "voltage_l1": 68, "voltage_l2": 70, "voltage_l3": 72,
    "current_l1": 74, "current_l2": 76, "current_l3": 78,
    "active_power_l1": 80, "active_power_l2": 82, "active_power_l3": 84, "active_power": 86,
    "reactive_power_l1": 88, "reactive_power_l2": 90, "reactive_power_l3": 92, "reactive_power": 94,
    "apparent_power_l1": 96, "apparent_power_l2": 98, "apparent_power_l3": 100, "apparent_power": 102,
    "power_factor_l1": 104, "power_factor_l2": 106, "power_factor_l3": 108, "power_factor": 110,
    "thd_voltage_l1": 112, "thd_voltage_l2": 114, "thd_voltage_l3": 116,
    "thd_current_l1": 118, "thd_current_l2": 120, "thd_current_l3": 122,
}  # fmt: skip
KONECT = {
    "voltage_l1_l2": 4, "voltage_l2_l3": 6, "voltage_l3_l1": 8,
    "voltage_l1": 10, "voltage_l2": 12, "voltage_l3": 14,
    "current_n": 18, "current_l1": 20, "current_l2": 22, "current_l3": 24,
    "frequency": 26,
    "active_power": 34, "active_power_l1": 36, "active_power_l2": 38, "active_power_l3": 40,
    "reactive_power": 42, "reactive_power_l1": 44, "reactive_power_l2": 46, "reactive_power_l3": 48,
    "apparent_power": 50, "apparent_power_l1": 52, "apparent_power_l2": 54, "apparent_power_l3": 56,
    "power_factor": 58, "power_factor_l1": 60, "power_factor_l2": 62, "power_factor_l3": 64,
    "voltage_unbalance": 74,
    "energy_import": 200, "reactive_energy_import": 202, "energy_export": 204, "reactive_energy_export": 206,
}  # fmt: skip
INTESIS: dict[str, Place] = {
    "on": (0, "s16", 1), "mode": (1, "s16", 1), "fan_speed": (2, "s16", 1),
    "temperature_setpoint": (4, "s16", 0.1), "temperature": (5, "s16", 0.1),
    "alarm": (10, "s16", 1), "error_code": (11, "u16", 1),
}  # fmt: skip


def floats(addresses: dict[str, int]) -> dict[str, Place]:
    return {name: (address, "f32", 1) for name, address in addresses.items()}


DATASHEETS = {
    "pzem-004t": PZEM,
    "pzem-016": PZEM,
    "eastron-sdm120": Datasheet("input", "ABCD", floats(SDM120), 80, 100),
    "eastron-sdm630": Datasheet("input", "ABCD", floats(SDM630), 80, 100),
    "schneider-pm5xxx": Datasheet("holding", "ABCD", numbered(PM5XXX_NUMBERS), 125),
    "schneider-iem3155": Datasheet("holding", "ABCD", IEM3155, 125),
    "carlo-gavazzi-em340": Datasheet("input", "CDAB", EM340, 125),
    "abb-b23": Datasheet("holding", "ABCD", B23, 125),
    "embrasul-md30": Datasheet("holding", "CDAB", floats(MD30), 100),
    "kron-konect": Datasheet("input", "DCBA", floats(KONECT), 66),
    "xy-md02": Datasheet(
        "input", "ABCD", {"temperature": (0x0001, "s16", 0.1), "humidity": (0x0002, "u16", 0.1)}, 125
    ),
    "intesis-ac": Datasheet("holding", "ABCD", INTESIS, 125),
}
