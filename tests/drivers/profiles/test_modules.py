"""Profiles of modules that speak by themselves, against what is said of them elsewhere: the vectors of the
protocol's document, and Tasmota's own words for an air conditioner (device-facts 3.11)."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from agent.drivers.profile import BUILT_IN
from agent.drivers.serial.decode import Decoded, Decoder
from agent.drivers.serial.profile import SerialProfile
from agent.drivers.udp import UdpProfile
from agent.drivers.udp.intake import Intake
from agent.drivers.udp.keys import Key
from agent.drivers.udp.ledger import Marks
from agent.drivers.udp.message import Now
from agent.drivers.udp.options import UdpDeviceOptions
from agent.drivers.udp.session import Module
from agent.model import Reading
from agent.schema import read

DOCUMENT = (Path(__file__).parents[3] / "docs" / "udp-protocol.md").read_text(encoding="utf-8")
KEY = Key(bytes(range(32)))
NOW = Now(1767322984678, 1000.0)
IRHVAC = orjson.loads(
    '{"Vendor":"COOLIX","Model":-1,"Power":"On","Mode":"Cool","FanSpeed":"Auto","SwingV":"Off","SwingH":"Off",'
    '"Celsius":"On","Temp":24,"Quiet":"Off","Turbo":"Off","Econo":"Off","Light":"Off","StateMode":"SendStore"}'
)
IRHVAC_MODES = {"auto", "cool", "heat", "dry", "fan"}
IRHVAC_FANS = ["auto", "min", "low", "med", "high", "max"]  # the last five are 1 to 5 too


def udp(name: str) -> UdpProfile:
    return read(UdpProfile, BUILT_IN / f"{name}.toml")


def taken(datagram: bytes) -> list[dict[str, float]]:
    """What an ambient module's datagram says, by point."""
    module = Module(
        UdpDeviceOptions.model_validate({"name": "room-101", "profile": "ambient"}), udp("ambient")
    )
    intake = Intake("wifi", [module], 86_400_000)
    intake.rekey({"room-101": [KEY]})
    intake.take([(datagram, ("127.0.0.1", 5000))], NOW)
    intake.kept(Marks(intake.ask(NOW.s)))
    return [named(reading) for reading in intake.readings()]


def named(reading: Reading) -> dict[str, float]:
    return {point.name: value for point, value in zip(reading.group.points, reading.values, strict=True)}


def vector(name: str) -> str:
    found = re.search(rf"(?m)^{name} +(\S+)$", DOCUMENT)
    assert found
    return found[1]


def test_ambient_reads_the_packed_vector() -> None:
    names = ("temperature", "humidity", "co2", "battery_voltage")
    samples = [(21.5, 47.0, 612.0, 3.3), (21.6, 46.9, 615.0, 3.3)]
    assert taken(bytes.fromhex(vector("data"))) == [dict(zip(names, each, strict=True)) for each in samples]


def test_ambient_reads_the_json_vector() -> None:
    (said,) = taken(vector("json").encode())
    assert (said["temperature"], said["humidity"]) == (21.5, 47.0)


def test_ambient_serial_reads_the_values_of_the_document_a_line_each() -> None:
    decoder = Decoder(read(SerialProfile, BUILT_IN / "ambient-serial.toml"))
    (room,) = decoder.feed(b'{"temperature": 21.5, "humidity": 47, "co2": 612, "battery": 3.3}\n')
    assert room == Decoded("", 0, [21.5, 47.0, 612.0, 3.3])
    example = re.search(r"echo '(\{.*?\})'", DOCUMENT)
    assert example
    (first,) = decoder.feed(orjson.dumps(orjson.loads(example[1])["values"]) + b"\n")
    assert isinstance(first, Decoded)
    assert first.values[:2] == [21.5, 47.0]


def test_tasmota_has_every_key_and_word_of_the_profile() -> None:
    sent = {point.key: point for point in udp("ir-blaster-tasmota").group[0].point}
    assert sent.keys() <= IRHVAC.keys()
    assert set(sent["Mode"].states.values()) == IRHVAC_MODES
    assert IRHVAC["Mode"].lower() in sent["Mode"].states.values()
    assert sent["Power"].states["1"] == IRHVAC["Power"].lower()
    fans = sent["FanSpeed"].states
    assert [int(code) for code in fans] == list(range(6))
    assert all(word.startswith(said) for word, said in zip(fans.values(), IRHVAC_FANS, strict=True))
    assert IRHVAC["FanSpeed"].lower() == fans["0"]


@pytest.mark.parametrize("name", ["ir-blaster", "ir-blaster-tasmota"])
def test_infrared_modules_say_what_one_way_means(name: str) -> None:
    """Facts: nothing comes back from the unit, and a mode word per Tasmota mode ("off" is the power's)."""
    points = {point.name: point for point in udp(name).group[0].point}
    assert set(points["mode"].states.values()) == IRHVAC_MODES
    assert all("nothing is sent again" in point.on_silence for point in points.values() if point.writable)
