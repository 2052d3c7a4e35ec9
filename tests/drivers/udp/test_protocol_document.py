"""docs/udp-protocol.md against the code: its vectors, its counters, its first steps."""

from __future__ import annotations

import re
from typing import Any

import orjson

from agent.drivers.udp import packed, text
from agent.drivers.udp.keys import Key
from agent.drivers.udp.message import Ack, Command, Now
from agent.drivers.udp.packed import Layout
from agent.model import Quality

from .lab import KEY, ROOT, Core, uicps_sender

DOCUMENT = (ROOT / "docs" / "udp-protocol.md").read_text(encoding="utf-8")
VECTORS = dict(re.findall(r"^(json|data|ack|command|result) +(\S.*)$", DOCUMENT, flags=re.MULTILINE))
NAMES = ("temperature", "humidity", "co2", "battery")
TIME_MS = 1767322984678
LAYOUT = Layout.of(NAMES)


def module() -> Any:
    return uicps_sender.Sender(KEY, NAMES, 17, command=lambda point, value: (point, value))


def test_the_vectors_are_what_the_senders_and_the_gateway_make() -> None:
    one, key = module(), Key(KEY)
    one.sample((21.5, 47.0, 612.0, 3.3), 1000)
    one.sample((21.6, 46.9, 615.0, 3.3), 2000)
    assert one.datagram(2500, TIME_MS).hex() == VECTORS["data"]
    command = packed.command(Command(17, 1809738736313345, 0, 21.5), LAYOUT, key)
    assert command.hex() == VECTORS["command"]
    assert one.receive(command, 0).hex() == VECTORS["result"]
    assert packed.ack(Ack(17, 1, 1, 3, b""), key, 1400).hex() == VECTORS["ack"]
    json = VECTORS["json"].encode()
    assert text.sign(orjson.loads(json[: -text.TRAILER_BYTES]), key) == json
    assert f"key id `{key.id:08x}`" in DOCUMENT
    assert f"`{LAYOUT.id:08x}`" in DOCUMENT


def test_the_json_vector_is_a_reading() -> None:
    core = Core({"room-101": [KEY]}, id="room-101")
    (reading,) = core.take(VECTORS["json"].encode())
    assert reading.values[0] == 21.5


def test_the_large_json_example_is_taken() -> None:
    example = re.search(r"```json\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    assert example
    core = Core({"room-101": [KEY]}, id="room-101")
    core.now = Now(TIME_MS, 1000.0)
    taken = core.take(text.sign(orjson.loads(example[1]), Key(KEY)))
    assert [reading.quality for reading in taken] == [Quality.GOOD, Quality.UNCERTAIN, Quality.GOOD]
    assert core.counters == {"missing_point": 1}  # a module of ours has a set point too


def test_the_first_datagram_is_taken() -> None:
    sent = re.search(r"echo '(\{.*?\})'", DOCUMENT)
    assert sent
    (reading,) = Core(unsigned=True, id="room-101").take(sent[1].encode() + b"\n")
    assert reading.quality is Quality.UNCERTAIN


def test_every_counter_is_explained() -> None:
    source = "".join(
        file.read_text(encoding="utf-8") for file in (ROOT / "agent" / "drivers" / "udp").glob("*.py")
    )
    used = set(re.findall(r'Refused\(\s*"(\w+)"', source)) | set(re.findall(r'_count\(\w+, "(\w+)"', source))
    used |= set(re.findall(r'counters\["(\w+)"\]', source)) | {"repeated", "stale", "reordered"}
    explained = {
        name
        for row in re.findall(r"^\| (`.*?) \|", DOCUMENT, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert used <= explained, used - explained


def test_the_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", DOCUMENT):
        assert (ROOT / "docs" / link).exists(), link


def test_the_senders_stay_readable() -> None:
    for file in (ROOT / "docs" / "senders").rglob("*.*"):
        if file.suffix in (".c", ".h", ".py"):
            assert len(file.read_text(encoding="utf-8").splitlines()) <= 400, file
