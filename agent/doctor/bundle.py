"""The support bundle: what a person far away needs to understand a box, without any secret of it."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from agent.doctor.scrub import scrub

COMMAND_S_MAX = 30.0
TEXT_CHARS_MAX = 4_000_000

# Each becomes a file of this name; one that the box does not have says so in it.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "journal.txt": ("journalctl", "--no-pager", "-q", "-o", "short-iso", "-n", "5000", "-u", "uicps-agent"),
    "upgrades.txt": ("journalctl", "--no-pager", "-q", "-n", "300", "-u", "uicps-agent-upgrade"),
    "kernel.txt": ("journalctl", "--no-pager", "-q", "-n", "500", "-k", "-p", "warning"),
    "unit.txt": ("systemctl", "--no-pager", "cat", "uicps-agent"),
    "unit-state.txt": ("systemctl", "--no-pager", "show", "uicps-agent"),
    "disk.txt": ("df", "-h"),
    "network.txt": ("ip", "-brief", "address"),
    "time.txt": ("timedatectl", "show"),
    "system.txt": ("uname", "-a"),
    "memory.txt": ("free", "-m"),
}


def collected() -> dict[str, str]:
    """The output of each command, by the name of its file."""
    return {name: _output(command) for name, command in COMMANDS.items()}


def _output(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the commands above
            command, capture_output=True, timeout=COMMAND_S_MAX, check=False, text=True, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{' '.join(command)}: {error}\n"
    return (done.stdout + done.stderr)[-TEXT_CHARS_MAX:]


def write_bundle(file: Path, texts: Mapping[str, str], secrets: Iterable[str]) -> None:
    """A .tar.gz of `texts` without secrets, readable by its maker only. OSError if it is there already."""
    known = list(secrets)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out, tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in texts.items():
            body = scrub(text, known).encode()
            entry = tarfile.TarInfo(f"uicps-support/{name}")
            entry.size, entry.mtime, entry.mode = len(body), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(body))
