"""What a Modbus profile may say, and in which words it is told what it may not."""

from pathlib import Path
from typing import Any

import pytest

from agent.drivers.modbus.profile import ModbusProfile
from agent.schema import FaultyFile, validate

from .lines import profile_of

W = {"writable": True, "on_silence": "stays on"}


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ({"bit": 3, "mask": 8}, "expected bit or mask, found both"),
        ({"bit": 16}, "expected bit or mask inside a u16, u32 or u64, found u16"),
        ({"bit": 3, "type": "s16"}, "expected bit or mask inside a u16, u32 or u64, found s16"),
        ({"scale": 0}, "scale: expected another number than 0"),
        (
            {"writable": True},
            "on_silence: expected words on what the device does when we go silent, found none",
        ),
        ({"min": 3}, "min: expected writable = true beside it"),
        ({"on_silence": "x"}, "on_silence: expected writable = true beside it"),
        (W | {"min": 3, "max": 2}, "min: expected at most max, found 3.0 > 2.0"),
        (W | {"table": "input"}, "expected a coil or a holding register, found table input"),
        (W | {"table": "discrete"}, "expected a coil or a holding register, found table discrete"),
        (W | {"write_function": 5}, "write_function: expected 6 or 16"),
        (W | {"type": "u32", "write_function": 6}, "write_function: expected 16"),
        (W | {"table": "coil", "write_function": 6}, "write_function: expected 5 or 15"),
        ({"table": "coil", "scale": 2}, "a coil is one bit: no type, scale"),
        ({"table": "coil", "type": "u16"}, "a coil is one bit: no type, scale"),
        ({"conversion": "power_factor_4q"}, "conversion power_factor_4q: expected type f32 or f64"),
        ({"address": 65535, "type": "u32"}, "expected all its registers below 65536"),
        ({"write_function": 7}, "write_function: expected 5, 6, 15 or 16"),
    ],
)
def test_what_does_not_go_together_is_said(point: dict[str, Any], words: str) -> None:
    data = {
        "driver": "modbus",
        "title": "t",
        "source": ["s"],
        "group": [{"name": "g", "point": [{"name": "x", "address": 1} | point]}],
    }
    with pytest.raises(FaultyFile) as caught:
        validate(ModbusProfile, data, str(Path("p.toml")))
    assert words in str(caught.value)


def test_bits_and_registers_are_asked_apart_each_within_its_limit() -> None:
    points = [{"name": f"c{at}", "table": "coil", "address": at} for at in range(40)]
    points += [{"name": f"r{at}", "address": at} for at in range(40)]
    profile = profile_of(points, max_bits=16, max_registers=30)
    found = [(block.table, block.address, block.width) for block in profile.blocks(profile.group[0])]
    assert found == [
        *[("coil", 0, 16), ("coil", 16, 16), ("coil", 32, 8)],
        *[("holding", 0, 30), ("holding", 30, 10)],
    ]
