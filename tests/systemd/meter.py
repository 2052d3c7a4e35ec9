"""A Modbus TCP meter inside the container, of the standard library alone: counts how often it was read.

Registers 0 and 1 are that count, high word first; the others are 0. The counts it served go to the file it is
given, so that a test can say which of them never arrived.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
from pathlib import Path


def serve(connection: socket.socket, served: Path, count: list[int]) -> None:
    with connection, connection.makefile("rwb") as wire, served.open("a") as book:
        while len(head := wire.read(12)) == 12:
            transaction, _, _, unit, function, _, registers = struct.unpack(">HHHBBHH", head)
            count[0] += 1
            values = struct.pack(">I", count[0]).ljust(2 * registers, b"\0")[: 2 * registers]
            body = struct.pack(">BBB", unit, function, len(values)) + values
            wire.write(struct.pack(">HHH", transaction, 0, len(body)) + body)
            wire.flush()
            book.write(f"{count[0]}\n")
            book.flush()


def main() -> None:
    served = Path(sys.argv[1])
    count = [int(served.read_text().split()[-1]) if served.exists() and served.stat().st_size else 0]
    listener = socket.create_server(("127.0.0.1", 5020))
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, served, count), daemon=True).start()


if __name__ == "__main__":
    main()
