#!/usr/bin/env python3
"""A million frames or datagrams into each decoder: nothing escapes it, memory does not grow.

    .venv/bin/python bench/fuzz.py                        every decoder, a million mutations each
    .venv/bin/python bench/fuzz.py modbus-rtu sma         these
    python bench/fuzz.py --engine atheris --count 1000000  guided by coverage, where atheris is installed

Mutations: bits flipped, bytes lost, doubled, added or cut, of real captures and of well-formed messages;
what is signed is signed again in one of three, so that nonsense gets further in. One JSON line a decoder.
"""

import argparse
import contextlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def modbus(tcp):
    """Answers of real meters; what gets through is decoded as every type."""
    from agent.drivers.modbus import pdu
    from agent.drivers.modbus.codec import Coding, decoder, words
    from agent.drivers.modbus.frame import RtuFraming, TcpFraming, crc16
    from agent.drivers.modbus.pdu import MalformedError, RefusedError

    types = ("bool", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64")
    orders = ("ABCD", "CDAB", "BADC", "DCBA")
    decoders = [(words(kind), decoder(Coding(kind, order))) for kind in types for order in orders]
    corpus = []
    for file in sorted((ROOT / "tests/drivers/modbus/captures").glob("*/frames.hex")):
        for line in file.read_text().splitlines():
            frame = bytes.fromhex(line[1:].split("#")[0]) if line.startswith("<") else b""
            if len(frame) > 4 and crc16(frame[:-2]).to_bytes(2, "little") == frame[-2:]:
                corpus.append(bytes((0, 0, 0, len(frame) - 2)) + frame[:-2] if tcp else frame)
    framing = TcpFraming() if tcp else RtuFraming()

    def feed(data):
        nonlocal framing
        head = data[4 if tcp else 0 :]
        unit, count = (head[0], head[2]) if len(head) > 2 else (1, 2)
        request = pdu.read("holding", 0, max(1, min(count // 2, 125)))
        sent = framing.send(unit, request)
        try:
            answer = framing.receive(sent[:2] + data if tcp else data)
        except MalformedError:
            framing = TcpFraming()
            return
        if answer is None:
            return
        with contextlib.suppress(RefusedError, MalformedError):
            pdu.check(request, answer)
            registers = pdu.registers(answer)
            for width, decode in decoders:
                if width <= len(registers):
                    decode(registers, 0)

    return corpus, feed


def serial(name):
    from agent.drivers.serial.decode import Decoder
    from tests.drivers.serial import profiles

    corpus = {
        "text": [b"2301,450\n", b"2299,-12.5\r\n", b"1,2,3,4,5\n"],
        "nmea": [b"$WIMWV,214.8,R,4.5,M,A*2C\r\n", b"$WIMTA,21.3,C*0A\r\n"],
        "json": [b'{"bme":{"t":21.5},"h":0.55,"on":true}\n', b'{"bme":{"t":null},"h":"x","on":1e400}\n'],
        "binary": [bytes.fromhex("aa5500010002000300040000000d") * 2],
    }[name]
    profile = {
        "text": profiles.PLAIN,
        "nmea": profiles.NMEA,
        "json": profiles.JSON,
        "binary": profiles.BINARY,
    }
    decoder = Decoder(profile[name], Counter())

    def feed(data):
        for _ in decoder.feed(data):
            pass

    return corpus, feed


def sma():
    from agent.drivers.sma.datagram import decode
    from tests.drivers.sma.capture import DATAGRAM

    def feed(data):
        with contextlib.suppress(ValueError):  # as it says
            decode(data)

    return [DATAGRAM], feed


def udp(form):
    """The whole intake: form, signature, window, content."""
    from agent.drivers.udp import text
    from agent.drivers.udp.keys import Key
    from tests.drivers.udp.lab import KEY, NOW_MS, Core, datagram, sender

    core, key, module, turn = Core(), Key(KEY), sender(), random.Random(2)
    if form == "packed":
        corpus = [datagram(module, (at, 0), unix_ms=NOW_MS) for at in range(20)]
    elif form == "json":
        body = {"id": "mod-1", "boot": 1}
        corpus = [text.sign(body | {"seq": at, "values": {"setpoint": at}}, key) for at in range(20)]
    else:
        core = Core(unsigned=True)
        corpus = [b'{"id":"mod-1","seq":1,"values":{"temperature":21.5}}', b'{"id":"mod-1","values":{}}']

    def feed(data):
        if form != "unsigned" and turn.random() < 0.33 and len(data) > 16:
            data = text.signed_part(data) if form == "json" and data[:1] == b"{" else data[:-16]
            tag = key.tag(data)
            data += tag.hex().encode() if form == "json" else tag
        core.intake.take([(data, ("10.0.0.1", 1 + len(data)))], core.now)
        core.keep()
        core.intake.readings()
        core.intake.replies()

    return corpus, feed


DECODERS = {
    "modbus-rtu": lambda: modbus(tcp=False),
    "modbus-tcp": lambda: modbus(tcp=True),
    "serial-text": lambda: serial("text"),
    "serial-nmea": lambda: serial("nmea"),
    "serial-json": lambda: serial("json"),
    "serial-binary": lambda: serial("binary"),
    "sma": sma,
    "udp-packed": lambda: udp("packed"),
    "udp-json": lambda: udp("json"),
    "udp-unsigned": lambda: udp("unsigned"),
}


def mutated(data, rand):
    data = bytearray(data)
    for _ in range(rand.randint(0, 3)):
        at = rand.randrange(len(data)) if data else 0
        kind = rand.randrange(5)
        if kind == 0 and data:
            data[at] ^= 1 << rand.randrange(8)
        elif kind == 1 and data:
            del data[at : at + rand.randint(1, 3)]
        elif kind == 2:
            data[at:at] = rand.randbytes(rand.randint(1, 8))
        elif kind == 3 and len(data) < 4096:
            data[at:at] = data[at:]
        else:
            del data[at:]
    return bytes(data)


def memory_kb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def by_chance(name, count, seed):
    corpus, feed = DECODERS[name]()
    rand = random.Random(seed)
    for _ in range(min(count, 20_000)):
        feed(mutated(rand.choice(corpus), rand))
    before_kb, started_s = memory_kb(), time.monotonic()
    for _ in range(count):
        feed(mutated(rand.choice(corpus), rand))
    return {"seconds": round(time.monotonic() - started_s, 1), "memory_growth_kb": memory_kb() - before_kb}


def by_coverage(name, count, seed):
    """atheris ends the process, so each decoder has one of its own."""
    started_s = time.monotonic()
    command = [sys.executable, str(Path(__file__).resolve()), "--engine", "atheris-child"]
    command += ["--count", str(count), "--seed", str(seed), name]
    with tempfile.TemporaryDirectory() as folder:  # atheris leaves what crashed where it runs
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return {"engine": "atheris", "seconds": round(time.monotonic() - started_s, 1)}


def child(name, count, seed):
    import atheris

    with atheris.instrument_imports(include=["agent.drivers"]):
        corpus, feed = DECODERS[name]()
    for each in corpus:
        feed(each)
    rand = random.Random(seed)

    def custom(data, size_max, _seed):
        return mutated(data if data and rand.random() < 0.7 else rand.choice(corpus), rand)[:size_max]

    atheris.Setup(
        [name, f"-runs={count}", f"-seed={seed}", "-max_len=4096", "-rss_limit_mb=1024"],
        feed,
        custom_mutator=custom,
    )
    atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("decoder", nargs="*", help=", ".join(DECODERS))
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["random", "atheris", "atheris-child"], default="random")
    options = parser.parse_args()
    if unknown := set(options.decoder) - set(DECODERS):
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(DECODERS)}")
    if options.engine == "atheris-child":
        child(options.decoder[0], options.count, options.seed)
        return
    engine = by_coverage if options.engine == "atheris" else by_chance
    for name in options.decoder or DECODERS:
        print(
            json.dumps({"decoder": name, "count": options.count} | engine(name, options.count, options.seed)),
            flush=True,
        )


if __name__ == "__main__":
    main()
