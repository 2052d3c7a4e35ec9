"""Which files and devices of the box a configuration may name when it comes by the API.

Who may configure lines need not be one who may read the files of the box, and whatever the agent is told to
open it opens with its own rights. So:
1. What the file already says may stay, and be said of another line.
2. A new `key_file` is the bare name of a file `*.keys`, which lies beside the configuration.
3. A new `port` of a serial line is /dev/tty... or a name of /dev/serial/by-id: /dev holds disks too.
4. Any other new path is refused.
All of this is judged by the text alone, before anything is opened: a refusal is the same whether the file
exists or not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from agent.server.replies import Refused

_PATH_KEY = re.compile(r"(^|_)(file|dir|path|folder)$")
_KEY_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.keys")
_PORT = re.compile(r"/dev/(?:tty[A-Za-z0-9_.-]{1,64}|serial/by-id/[A-Za-z0-9][A-Za-z0-9_.:=#+@-]{0,255})")


def confine(wanted: Mapping[str, Any], known: Iterable[Mapping[str, Any]]) -> None:
    """Refuse `wanted` if it names what may not be named; `known` are the tables that are in the file."""
    said = {(key, str(value)) for table in known for _, key, value in _places(table)}
    for path, key, value in _places(wanted):
        if (key, str(value)) not in said and (text := _fault(key, value)):
            raise Refused(422, "faulty_configuration", f"{path}: {text}", kind="config.path")


def port_fault(port: str, known: Collection[str]) -> str:
    """Why `port` may not be opened as a serial port, "" if it may; `known` are those of our lines."""
    return "" if port in known else _fault("port", port)


def _fault(key: str, value: Any) -> str:
    """Why it may not be named, "" if it may."""
    shown = repr(value)[:80]
    if key == "key_file":
        well = isinstance(value, str) and _KEY_FILE.fullmatch(value) is not None
        wanted = "the name of a key file beside the configuration, like 'modules.keys', without a folder"
        return "" if well else f"expected {wanted}, found {shown}"
    if key == "port":
        well = isinstance(value, str) and _PORT.fullmatch(value) is not None
        wanted = "a serial port, like '/dev/ttyUSB0' or '/dev/serial/by-id/...'"
        return "" if well else f"expected {wanted}, or one that the file on the box names, found {shown}"
    return f"expected no path by the API: set it in the file on the box, found {shown}"


def _places(table: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Everything in `table` that names a file or a serial port: key path, key, value."""
    if isinstance(table, list):
        for at, each in enumerate(table):
            yield from _places(each, f"{path}[{at}]")
    if not isinstance(table, Mapping):
        return
    for key, value in table.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, Mapping | list):
            yield from _places(value, here)
        elif _PATH_KEY.search(key) or (key == "port" and isinstance(value, str)):
            yield here, key, value
