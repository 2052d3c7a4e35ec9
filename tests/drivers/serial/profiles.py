"""Profiles that the serial tests share: each a kind of module that exists."""

from __future__ import annotations

from typing import Any

from agent.drivers.serial.profile import SerialProfile


def profile(frame: dict[str, Any], *points: dict[str, Any], **more: Any) -> SerialProfile:
    """A profile of one group of `points`."""
    groups = more.pop("group", [{"name": "all", "point": list(points)}])
    whole = {"driver": "serial", "title": "test", "source": ["a test"], "frame": frame, "group": groups}
    return SerialProfile.model_validate(whole | more)


# emonTx-like: comma separated, no start, no check.
PLAIN = profile(
    {"format": "text"},
    {"name": "voltage", "unit": "V", "field": 0, "scale": 0.1},
    {"name": "active_power", "unit": "W", "field": 1},
)
# NMEA-like sentences of two kinds.
NMEA = profile(
    {"format": "text", "start": "$", "end": "\r\n", "checksum": {"kind": "xor", "after": "*"}},
    group=[
        {
            "name": "wind",
            "match": {"field": 0, "equals": "WIMWV"},
            "point": [{"name": "wind_speed", "field": 3, "invalid": [""]}],
        },
        {
            "name": "air",
            "match": {"field": 0, "equals": "WIMTA"},
            "point": [{"name": "temperature", "unit": "°C", "field": 1}],
        },
    ],
)
KEYED = profile(
    {"format": "text", "separator": " ", "assign": "=", "end": "\n"},
    {"name": "temperature", "unit": "°C", "key": "T", "suffix": "C", "invalid": ["--"]},
    {"name": "humidity", "unit": "%", "key": "H", "suffix": "%"},
    {"name": "on", "kind": "state", "key": "relay", "codes": {"ON": 1, "OFF": 0}},
    id={"key": "id"},
)
JSON = profile(
    {"format": "json"},
    {"name": "temperature", "unit": "°C", "key": "bme.t"},
    {"name": "humidity", "unit": "%", "scale": 100, "key": "h"},
    {"name": "on", "kind": "state"},
)
# A made-up board: two start bytes, a Modbus CRC with its low byte first, a closing byte.
BINARY = profile(
    {
        "format": "binary",
        "start": "AA 55",
        "end": "0D",
        "length": 13,
        "checksum": {"kind": "crc16-modbus", "order": "little", "covers_start": True},
    },
    {"name": "temperature", "unit": "°C", "at": 2, "type": "s16", "scale": 0.1, "invalid": [-32768]},
    {"name": "voltage", "unit": "V", "at": 4, "type": "f32", "order": "little"},
    {"name": "alarm", "kind": "state", "at": 8, "bit": 3},
    {"name": "counter", "kind": "total", "at": 9, "type": "u8", "offset": 1},
)
