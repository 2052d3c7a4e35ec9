"""What a commissioning record says apart from readings: the configuration, profiles, versions."""

from __future__ import annotations

import hashlib
import platform
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent import __version__
from agent.config import Config
from agent.drivers.profile import find
from agent.reports.commissioning import DeviceFacts, LineFacts, SiteFacts

FINGERPRINT_CHARS = 12


def site_facts(config: Config) -> SiteFacts:
    """Of a configuration without faults. No secret is in it."""
    options = config.options
    return SiteFacts(
        options.agent.site,
        tuple(LineFacts(line.name, line.driver, _where(line)) for line in options.line),
        tuple(_devices(config)),
        (
            ("agent_version", __version__),
            ("python_version", platform.python_version()),
            ("sqlite_version", sqlite3.sqlite_version),
            ("system", f"{platform.system()} {platform.machine()}"),
        ),
        (
            ("timezone", options.agent.timezone),
            ("clock_trust", options.agent.trust_clock),
            ("centres", ", ".join(f"{each.name} ({each.kind}, {each.host})" for each in options.uplink)),
            ("tariff", options.tariff.id),
            ("rooms", ", ".join(room.id for room in options.room)),
            ("alarm_rules", str(len(options.alarm))),
            ("settings_fingerprint", fingerprint(config.file)),
        ),
    )


def fingerprint(file: Path) -> str:
    """The first digits of its SHA-256: whether it is still the same."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:FINGERPRINT_CHARS]


def _devices(config: Config) -> Iterator[DeviceFacts]:
    folder = config.options.agent.profile_dir
    for line in config.options.line:
        for device in line.device:
            profile: Any = config.profiles[device.profile]
            yield DeviceFacts(
                device.name,
                device.label,
                device.profile,
                profile.title,
                tuple(profile.source),
                fingerprint(find(device.profile, (folder,) if folder else ())),
                line.name,
                _address(device),
            )


def _address(device: Any) -> str:
    for key in ("unit_id", "id", "serial", "serial_number"):
        if (value := getattr(device, key, None)) not in (None, ""):
            return str(value)
    return ""


def _where(line: Any) -> str:
    """The port of a serial line, host and port of the others."""
    host, port = getattr(line, "host", None), getattr(line, "port", None)
    return ":".join(str(each) for each in (host, port) if each not in (None, ""))
