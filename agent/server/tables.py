"""The tables of a configuration, changed in place so that comments and order stay. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias

from agent.server.parts import Document
from agent.server.replies import Refused

Table: TypeAlias = MutableMapping[str, Any]
NAME_SHOWN_MAX = 64


def lines_of(document: Document) -> list[Table]:
    """The `[[line]]` tables themselves, not copies."""
    found = document.get("line")
    return found if isinstance(found, list) else []


def line_of(document: Document, name: str) -> Table | None:
    """The line of this name."""
    return next((each for each in lines_of(document) if each.get("name") == name), None)


def devices_of(document: Document) -> Iterator[tuple[Table, Table]]:
    """Every device, after its line."""
    for line in lines_of(document):
        for device in line.get("device", ()):
            yield line, device


def append(table: Table, key: str, wanted: Mapping[str, Any]) -> None:
    """One more of an array of tables."""
    if key not in table:
        table[key] = [wanted]  # tomlkit makes an array of tables of it
    else:
        table[key].append(wanted)


def exchange(table: Table, wanted: Mapping[str, Any], keep: tuple[str, ...] = ()) -> None:
    """The keys of `wanted`, no others but `keep`; what is equal is not touched, nor its comments."""
    for key in [key for key in table if key not in wanted and key not in keep]:
        del table[key]
    for key, value in wanted.items():
        if key not in table or plain(table[key]) != value:
            table[key] = value


def remove(tables: list[Table], name: str, noun: str) -> None:
    """The one of this name goes; 404 if there is none."""
    for at, table in enumerate(tables):
        if table.get("name") == name:
            del tables[at]
            return
    raise unknown(noun, name)


def unknown(noun: str, name: str) -> Refused:
    """404."""
    text = f'there is no {noun} "{name[:NAME_SHOWN_MAX]}"'
    return Refused(404, f"unknown_{noun}", text, kind="not_found")


def plain(item: Any) -> Any:
    """Without tomlkit's knowledge of spaces and comments."""
    return item.unwrap() if hasattr(item, "unwrap") else item
