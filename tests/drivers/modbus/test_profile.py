"""What a Modbus profile may say, and in which words it is told what it may not."""

from pathlib import Path
from typing import Any

import pytest

from agent.drivers.modbus.profile import ModbusProfile
from agent.schema import FaultyFile, validate

from .lines import profile_of, row

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
        ({"scale": 1e300}, "group[0].point[0].scale: expected another number than 0, 1e-12 to 1e+12"),
        ({"scale": -1e-300}, "scale: expected another number than 0, 1e-12"),
        (
            {"offset": 1e300},
            "group[0].point[0].offset: expected less than or equal to 1000000000000000, found 1e+300",
        ),
        (W | {"scale": 0.1, "min": -50}, "point x: min: expected what fits in u16, found -50"),
        (W | {"scale": 0.1, "max": 9000}, "point x: max: expected what fits in u16, found 9000"),
        (W | {"scale": 0.1, "step": 0.25, "min": 0}, "point x: min + step: expected a multiple of 0.1"),
        ({"kind": "state", "states": {"70000": "on"}}, "point x: states.70000: expected what fits in u16"),
        (
            {"kind": "state", "bit": 1, "states": {"2": "on"}},
            "point x: states.2: expected what fits in the bits",
        ),
        ({"table": "coil", "states": {"2": "on"}}, "point x: states.2: expected 0 or 1, found 2"),
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


@pytest.mark.parametrize(("key", "value"), [("title", ""), ("title", "  "), ("source", [""]), ("source", [])])
def test_who_says_so_must_be_said(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key):
        profile_of(row(1), **{key: value})


def test_behind_a_scale_register_any_limit_may_fit() -> None:
    point = W | {"name": "x", "address": 1, "scale_register": 2, "min": 0, "max": 100_000, "step": 0.01}
    assert profile_of([point]).group[0].point[0].max == 100_000
