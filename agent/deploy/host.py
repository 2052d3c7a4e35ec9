"""The thin side: what is asked of the system, a command at a time. OSError in the command's own words."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agent.deploy.layout import NAME

COMMAND_S_MAX = 300.0
PROBE_S_MAX = 3.0

Run = Callable[[Sequence[str]], str]


def run(command: Sequence[str]) -> str:
    """What `command` prints. OSError with what it said if it fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - arguments as a list, the program by our own choice
            command, capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{' '.join(command)}: no end after {COMMAND_S_MAX:.0f} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise OSError(f"{' '.join(command)}: ended with {done.returncode}: {said}")
    return done.stdout


class UnitState(NamedTuple):
    """What systemd knows of the agent."""

    active: str  # "active", "activating", "failed", "inactive" ...
    restarts: int
    pid: int
    invocation: str
    status: str


class Host:
    """systemd and the accounts of this box."""

    def __init__(self, run: Run = run) -> None:
        self._run = run

    def must_be_root_under_systemd(self) -> None:
        if os.geteuid() != 0:
            raise PermissionError("this changes the system: run it with sudo")
        if not Path("/run/systemd/system").is_dir():
            raise OSError("systemd does not run here: start the agent by hand, uicps-agent run CONFIG")

    def systemctl(self, *arguments: str) -> str:
        return self._run(("systemctl", *arguments))

    def state(self, unit: str = NAME) -> UnitState:
        names = ("ActiveState", "NRestarts", "MainPID", "InvocationID", "StatusText")
        text = self.systemctl("show", unit, *(f"--property={name}" for name in names))
        return parse_state(text)

    def is_active(self, unit: str) -> bool:
        return self.state(unit).active == "active"

    def journal(self, invocation: str) -> list[str]:
        """The lines of one run of the agent."""
        words = ("journalctl", "--no-pager", "-q", "-o", "cat", f"_SYSTEMD_INVOCATION_ID={invocation}")
        return self._run(words).splitlines()

    def make_account(self, home: Path) -> None:
        """The system user and group that the agent runs as."""
        try:
            pwd.getpwnam(NAME)
        except KeyError:
            words = ("--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin")
            self._run(("useradd", *words, "--home-dir", str(home), NAME))

    def drop_account(self) -> None:
        try:
            pwd.getpwnam(NAME)
        except KeyError:
            return
        self._run(("userdel", NAME))

    def give(self, path: Path, mode: int, user: str = "root", group: str = "root") -> None:
        """Owner and mode of `path`."""
        os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
        path.chmod(mode)


def parse_state(text: str) -> UnitState:
    """`systemctl show` as a state."""
    found = dict(line.partition("=")[::2] for line in text.splitlines())
    return UnitState(
        found.get("ActiveState", "unknown"),
        int(found.get("NRestarts") or 0),
        int(found.get("MainPID") or 0),
        found.get("InvocationID", ""),
        found.get("StatusText", ""),
    )


def ask_health(url: str) -> str:
    """Ask `/healthz` of the agent on this box: "" if it is well, else what is wrong."""
    context = ssl.create_default_context()
    # Its own certificate, over loopback: what is asked is whether it answers, not who it is.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(  # noqa: S310 - our own URL, http or https
            f"{url}/healthz", timeout=PROBE_S_MAX, context=context
        ):
            return ""
    except urllib.error.HTTPError as error:
        return _reasons(error.read(4096)) or f"/healthz answers {error.code}"
    except (OSError, ValueError) as error:
        return f"{url} does not answer: {getattr(error, 'reason', error)}"


def _reasons(body: bytes) -> str:
    try:
        said = json.loads(body)
        return "; ".join(str(each) for each in said["reasons"])
    except (ValueError, KeyError, TypeError):
        return ""


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The plain environment that programs of a release are run in."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **extra}


def free_bytes(path: Path) -> int:
    """Free space where `path` is, or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
