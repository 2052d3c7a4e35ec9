"""Frames of real devices: what we would have asked is what was asked, and the values are those of the log."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.drivers.modbus import pdu
from agent.drivers.modbus.frame import Framing, RtuFraming, TcpFraming
from agent.drivers.modbus.layout import layout
from agent.drivers.modbus.pdu import RefusedError

from .lines import profile_of

FOLDERS = sorted(file.parent for file in (Path(__file__).parent / "captures").glob("*/expected.toml"))


def frames(folder: Path) -> Iterator[tuple[bytes, bytes]]:
    """Each question (empty if it was not logged) with its answer (empty if none came)."""
    asked = b""
    for line in (folder / "frames.hex").read_text().splitlines():
        text = line.split("#")[0].strip()
        if not text:
            continue
        data = bytes.fromhex(text[1:])
        if text[0] == ">":
            if asked:
                yield asked, b""
            asked = data
        else:
            yield asked, data
            asked = b""
    if asked:
        yield asked, b""


def question(exchange: dict[str, Any]) -> bytes:
    if "table" in exchange:
        return pdu.read(exchange["table"], exchange["address"], exchange["count"])
    if exchange["function"] == 15:
        return pdu.write_coils(exchange["address"], list(map(bool, exchange["values"])))
    return pdu.write_registers(exchange["address"], exchange["values"])


def values(exchange: dict[str, Any], answer: bytes) -> dict[str, float]:
    points = [{key: value for key, value in point.items() if key != "value"} for point in exchange["point"]]
    profile = profile_of(points, table=exchange["table"], max_gap=124)
    (block,) = profile.blocks(profile.group[0])
    skip = 0 if exchange["table"] == "coil" else 2 * (block.address - exchange["address"])
    found = [0.0] * len(points)
    layout(block, profile.codings(profile.group[0]))(answer[:2] + answer[2 + skip :], found)
    return {point["name"]: value for point, value in zip(points, found, strict=True)}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_capture(folder: Path) -> None:
    expected = tomllib.loads((folder / "expected.toml").read_text())
    assert len(expected["source"]) > 10
    framing: Framing = TcpFraming() if expected["wire"] == "tcp" else RtuFraming()
    for (asked, heard), exchange in zip(frames(folder), expected["exchange"], strict=True):
        request = question(exchange)
        sent = framing.send(exchange["unit_id"], request)
        assert not asked or sent == asked
        if not heard:
            continue
        answer = framing.receive(heard)
        assert answer is not None
        if "exception" in exchange:
            with pytest.raises(RefusedError) as caught:
                pdu.check(request, answer)
            assert caught.value.code == exchange["exception"]
            continue
        pdu.check(request, answer)
        if "point" in exchange:
            wanted = {point["name"]: point["value"] for point in exchange["point"]}
            assert values(exchange, answer) == pytest.approx(wanted, rel=3e-6)


def test_there_are_captures() -> None:
    assert len(FOLDERS) >= 20
