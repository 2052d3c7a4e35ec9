#!/usr/bin/env python3
"""A million mutated frames into the Modbus decoders: nothing escapes but MalformedError, memory stays.

    .venv/bin/python bench/fuzz_modbus.py --frames 1000000

Frames are answers of real meters with bits flipped, bytes lost, doubled or added, cut anywhere, several in
a row; what gets through is decoded as every type. Prints one JSON line.
"""

import argparse
import contextlib
import json
import random
import resource
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agent.drivers.modbus import pdu  # noqa: E402 - after the path
from agent.drivers.modbus.codec import Coding, decoder, words  # noqa: E402
from agent.drivers.modbus.frame import RtuFraming, TcpFraming, crc16  # noqa: E402
from agent.drivers.modbus.pdu import MalformedError, RefusedError  # noqa: E402

CAPTURES = ROOT / "tests" / "drivers" / "modbus" / "captures"
TYPES = ("bool", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64")
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
DECODERS = [(words(kind), decoder(Coding(kind, order))) for kind in TYPES for order in ORDERS]


def answers():
    """The RTU answers of the captures."""
    for file in sorted(CAPTURES.glob("*/frames.hex")):
        for line in file.read_text().splitlines():
            frame = bytes.fromhex(line[1:].split("#")[0]) if line.startswith("<") else b""
            if len(frame) > 4 and crc16(frame[:-2]).to_bytes(2, "little") == frame[-2:]:
                yield frame


def mutated(frame, rand):
    data = bytearray(frame)
    for _ in range(rand.randint(0, 3)):
        at = rand.randrange(len(data)) if data else 0
        kind = rand.randrange(4)
        if kind == 0 and data:
            data[at] ^= 1 << rand.randrange(8)
        elif kind == 1 and data:
            del data[at : at + rand.randint(1, 3)]
        elif kind == 2:
            data[at:at] = rand.randbytes(rand.randint(1, 8))
        else:
            data[at:at] = data[at:]
    return bytes(data)


def request_for(frame):
    function = frame[1] & 0x7F
    if function in (1, 2):
        return pdu.read("coil", 0, 8 * frame[2])
    return pdu.read("holding" if function == 3 else "input", 0, frame[2] // 2)


def feed(framing, frame, data):
    """Whether an answer came of it; whatever comes is checked and decoded."""
    request = request_for(frame)
    sent = framing.send(frame[0], request)
    if isinstance(framing, TcpFraming):
        data = sent[:2] + data
    answer = framing.receive(data)
    if answer is None:
        return False
    with contextlib.suppress(RefusedError, MalformedError):
        pdu.check(request, answer)
        registers = pdu.registers(answer)
        for count, decode in DECODERS:
            if count <= len(registers):
                decode(registers, 0)
    return True


def run(frames, seed):
    rand, corpus = random.Random(seed), list(answers())
    rtu, tcp, taken, refused = RtuFraming(), TcpFraming(), 0, 0
    for _ in range(frames // 2):
        frame = rand.choice(corpus)
        taken += feed(rtu, frame, mutated(frame, rand))
        body = bytes((0, 0, 0, len(frame) - 2)) + frame[:-2]
        try:
            taken += feed(tcp, frame, mutated(body, rand))
        except MalformedError:
            tcp, refused = TcpFraming(), refused + 1
    return taken, refused


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    run(20_000, 0)
    before_kb, started_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    taken, refused = run(options.frames, options.seed)
    print(
        json.dumps(
            {
                "frames": options.frames,
                "taken": taken,
                "not_modbus_tcp": refused,
                "seconds": round(time.monotonic() - started_s, 1),
                "memory_growth_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb,
            }
        )
    )


if __name__ == "__main__":
    main()
