"""Taking secrets out of texts. Known ones by their value, whatever looks like one by its shape."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

REMOVED = "[removed]"
SECRET_CHARS_MIN = 4  # a shorter one is in every text, and no secret

_KEY = r"[\w-]*(?:password|passwd|token|secret|api_?key|private_?key|credential)[\w-]*"
_SHAPES = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"),  # a JWT
    re.compile(r"\b[0-9a-fA-F]{32,}\b"),  # a key in hex; a fingerprint too, unless it has colons
    re.compile(r"\$argon2[^\s\"']+"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?<=setup code )\S+"),
    re.compile(r"(?<=Bearer )\S+"),
    re.compile(r"(?<=otpauth://)\S+"),
)
# `password = "x"`, "token": "x", --password x; a file's name is no secret, nor is a number or a truth.
_SAID = re.compile(rf"(?i)(\b{_KEY}\"?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,}}]+)")


def scrub(text: str, secrets: Iterable[str]) -> str:
    """`text` without `secrets`, and without anything that looks like one."""
    for secret in sorted({each for each in secrets if len(each) >= SECRET_CHARS_MIN}, key=len, reverse=True):
        text = text.replace(secret, REMOVED)
    for shape in _SHAPES:
        text = shape.sub(REMOVED, text)
    return _SAID.sub(_without_value, text)


def _without_value(found: re.Match[str]) -> str:
    key, value = found[1], found[2]
    harmless = re.search(r"(?i)_(file|minutes|days|s|max)\"?\s*[=:]\s*$", key) or value in (
        "true",
        "false",
        '""',
    )
    return found[0] if harmless else f"{key}{REMOVED}"


_PUBLIC_FILES = ("ca_file", "cert_file", "controller_file")


def secrets_of(config: Path) -> Iterator[str]:
    """All secrets that the box of this configuration file has, also when the file is faulty."""
    folder = config.resolve().parent
    try:
        data = tomllib.loads(config.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        data = {}
    yield from secrets_in(_absolute(data, folder), data_dir_of(data, folder))


def data_dir_of(data: Any, folder: Path) -> Path:
    """Where the data is, by a configuration in `folder` that need not be good."""
    agent = data.get("agent") if isinstance(data, dict) else None
    named = agent.get("data_dir") if isinstance(agent, dict) else None
    return folder / (named if isinstance(named, str) else "data")


def _absolute(data: Any, folder: Path) -> Any:
    """The names of files as seen from the configuration's folder."""
    if isinstance(data, list):
        return [_absolute(each, folder) for each in data]
    if not isinstance(data, dict):
        return data
    return {
        key: str(folder / value)
        if key.endswith("_file") and isinstance(value, str)
        else _absolute(value, folder)
        for key, value in data.items()
    }


def secrets_in(data: Any, data_dir: Path) -> Iterator[str]:
    """The values of all secrets that a configuration (as parsed TOML) names, and of those the agent made."""
    for key, value in _leaves(data):
        if key.endswith("_file") and isinstance(value, str) and not key.endswith(_PUBLIC_FILES):
            yield from _words(Path(value))
        elif re.fullmatch(_KEY, key, re.IGNORECASE) and isinstance(value, str):
            yield value
    for file in sorted(data_dir.rglob("*")):
        if file.suffix == ".json":
            yield from _json_texts(file)
        elif file.suffix in (".key", ".token", ".secret"):
            yield from _words(file)


def _leaves(data: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _leaves(value, str(name))
    elif isinstance(data, list):
        for value in data:
            yield from _leaves(value, key)
    else:
        yield key, data


def _words(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [text.strip(), *(word for line in text.splitlines() for word in line.split())]


def _json_texts(file: Path) -> list[str]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [value for _, value in _leaves(found) if isinstance(value, str) and len(value) >= 16]
