"""A serial profile that cannot work is refused with words that say what to write."""

from __future__ import annotations

from typing import Any

import pytest

from agent.drivers.serial.profile import SerialProfile
from agent.schema import FaultyFile, validate

TEXT = {"format": "text"}
BINARY = {"format": "binary", "start": "AA", "length": 6}


def faults(frame: dict[str, Any], point: dict[str, Any], **more: Any) -> str:
    whole = {
        "driver": "serial",
        "title": "t",
        "source": ["s"],
        "frame": frame,
        "group": [{"name": "g", "point": [{"name": "x", **point}]}],
    }
    with pytest.raises(FaultyFile) as caught:
        validate(SerialProfile, whole | more, "p.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("frame", "point", "words"),
    [
        (TEXT, {}, "point x: field: expected its place among the fields, from 0"),
        (TEXT, {"at": 3}, "point x: at: not for a text frame"),
        (TEXT | {"assign": "="}, {"field": 3}, "with frame.assign a value is found by its key"),
        (TEXT | {"decimal_comma": True}, {"field": 0}, "expected another separator than ','"),
        (TEXT | {"checksum": {"kind": "xor"}}, {"field": 0}, "checksum.after: expected the text in front"),
        (TEXT | {"checksum": {"kind": "crc32", "after": "*"}}, {"field": 0}, 'found "crc32"'),
        ({"format": "json", "separator": ";"}, {}, "unknown key"),
        ({"format": "json"}, {"field": 1}, "field: not for a json frame"),
        (BINARY, {}, "at: expected the byte where the value begins"),
        (BINARY, {"at": 3, "type": "u32"}, "at: expected u32 to end before byte 6"),
        (BINARY, {"at": 1, "type": "f32", "bit": 1}, "bit: expected a whole-number type"),
        (BINARY, {"at": 1, "invalid": ["x"]}, "invalid: expected whole numbers"),
        (BINARY | {"start": "AAX"}, {"at": 1}, "expected bytes in hexadecimal like 'AA 55'"),
        (BINARY | {"start": ""}, {"at": 1}, "expected start bytes or a checksum"),
        (BINARY | {"checksum": {"kind": "crc16-modbus"}}, {"at": 4}, "expected u8 to end before byte 4"),
        (BINARY | {"checksum": {"kind": "xor", "after": "*"}}, {"at": 1}, "only text has it"),
        (BINARY | {"length": 2, "end": "0D 0A"}, {"at": 1}, "length: expected more than start"),
    ],
)
def test_faults(frame: dict[str, Any], point: dict[str, Any], words: str) -> None:
    assert words in faults(frame, point)


def test_places_fit_the_frame() -> None:
    assert "expected field as a place in such a frame, found key" in faults(
        TEXT, {"field": 0}, id={"key": "i"}
    )
    assert "expected one of field, key and at" in faults(TEXT, {"field": 0}, id={})
    assert "expected a place before byte 6" in faults(BINARY, {"at": 1}, id={"at": 6})
    groups = [{"name": name, "point": [{"name": name, "field": 0}]} for name in ("a", "b")]
    assert "match: expected it in every group but one" in faults(TEXT, {}, group=groups)
    groups[0]["point"] = groups[1]["point"]
    assert "expected each point once, found twice: b" in faults(TEXT, {}, group=groups)
    match = {"name": "a", "match": {"at": 1, "equals": "XX"}, "point": [{"name": "a", "at": 1}]}
    assert "hexadecimal" in faults(BINARY, {}, group=[match])
