"""What the centre sets: shared attributes, checked, kept here and obeyed also while the centre is away.

Rules.
1. Only names that are known here are taken, each with a type; what does not fit is refused with the reason
   and the old value stays.
2. A value that is taken is kept in a small file before it is reported; the next start begins with it.
3. What the centre deletes is no longer set: the configuration's own value holds again.
4. For each name the centre is told what holds (`NAME_applied`), how often it changed (`NAME_version`), and
   what was wrong with the last try (`NAME_error`, "" if nothing).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from agent.uplink.credentials import keep_private

log = logging.getLogger(__name__)

VALUE_BYTES_MAX = 16_384
ERROR_CHARS_MAX = 300


def _nothing(_: Any) -> None:
    """Of those who look a setting up when they need it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """`kind` is any type that pydantic checks. `apply` is called with each new value, and with None when
    there is none any more; ValueError from it refuses the value."""

    kind: Any
    apply: Callable[[Any], None] = _nothing


@dataclass(slots=True)
class _Held:
    """`json` is what the centre sent, `value` what was made of it; both None: not set."""

    value: Any = None
    json: Any = None
    version: int = 0
    error: str = ""


class Settings:
    """The settings of `known`, kept in `file`. One of it serves every uplink."""

    def __init__(self, file: Path, known: Mapping[str, Setting]) -> None:
        self._file, self._known = file, known
        self._adapters = {name: TypeAdapter(setting.kind) for name, setting in known.items()}
        self._held = {name: _Held() for name in known}
        self._turn = asyncio.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._known)

    def value(self, name: str) -> Any:
        """What is set, checked; None: nothing. KeyError if `name` is not known."""
        return self._held[name].value

    async def load(self) -> None:
        """Begin with what an earlier run kept; what no longer fits is left out and said."""
        try:
            kept = orjson.loads(await asyncio.to_thread(self._file.read_bytes))
            entries = {name: (each["value"], int(each["version"])) for name, each in kept.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("settings of the centre: %s: %r; starting with none", self._file, error)
            return
        for name, (value, version) in entries.items():
            if name in self._held:
                self._held[name].version = version
                if refusal := self._set(name, value):
                    log.warning("settings of the centre: %s: %s", name, refusal)

    async def take(self, changed: Mapping[str, Any]) -> None:
        """Obey a change: names and values, or `deleted` with a list of names."""
        deleted = changed.get("deleted")
        gone = [name for name in deleted if name in self._held] if isinstance(deleted, list) else []
        news = {name: value for name, value in changed.items() if name in self._held}
        await self._take(dict.fromkeys(gone) | news)

    async def take_all(self, shared: Mapping[str, Any]) -> None:
        """Obey the whole: a name that is not in `shared` is no longer set."""
        await self._take({name: shared.get(name) for name in self._held})

    async def _take(self, news: Mapping[str, Any]) -> None:
        async with self._turn:
            before = [held.version for held in self._held.values()]
            for name, value in news.items():
                held = self._held[name]
                unchanged = value == held.json and type(value) is type(held.json)
                held.error = "" if unchanged else self._set(name, value)
                if held.error:
                    log.warning("the centre's %s is refused: %s", name, held.error)
                elif not unchanged:
                    held.version += 1
                    log.info("the centre's %s is taken, version %d", name, held.version)
            if before != [held.version for held in self._held.values()]:
                await self._keep(news)

    def _set(self, name: str, json: Any) -> str:
        """Check and apply; what is wrong, "" if nothing. None takes the setting back."""
        held = self._held[name]
        try:
            if len(orjson.dumps(json)) > VALUE_BYTES_MAX:
                return f"expected at most {VALUE_BYTES_MAX} bytes"
            value = None if json is None else self._adapters[name].validate_python(json)
            self._known[name].apply(value)
        except ValidationError as error:
            return _words(error)
        except ValueError as error:
            return str(error)[:ERROR_CHARS_MAX]
        held.value, held.json = value, json
        return ""

    async def _keep(self, news: Mapping[str, Any]) -> None:
        kept = {name: {"value": held.json, "version": held.version} for name, held in self._held.items()}
        try:
            await asyncio.to_thread(keep_private, self._file, orjson.dumps(kept).decode())
        except OSError as error:
            log.warning("settings of the centre: %s: %s", self._file, error)
            for name in news:
                self._held[name].error = self._held[name].error or "holds, but could not be kept on disk"

    def report(self) -> dict[str, Any]:
        """As client attributes."""
        attributes: dict[str, Any] = {}
        for name, held in self._held.items():
            attributes[f"{name}_applied"] = held.json if held.json is not None else ""
            attributes[f"{name}_version"] = held.version
            attributes[f"{name}_error"] = held.error
        return attributes


def _words(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False)
    words = [
        ": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, "))))
        for each in details
    ]
    return "; ".join(words)[:ERROR_CHARS_MAX]
