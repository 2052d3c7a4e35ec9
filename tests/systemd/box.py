"""A Debian 12 box with a real systemd, in a container: made once, copied for each run, booted, asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / ".cache"
PACKAGES = "systemd,systemd-sysv,dbus,python3,mosquitto,procps"
BOOT_S_MAX = 60.0


def tree() -> Path:
    """The fresh Debian that boxes are copied from; made on first use, a few minutes."""
    if given := os.environ.get("UICPS_TEST_TREE"):
        return Path(given)
    made = CACHE / "bookworm"
    if not (made / ".complete").exists():
        shutil.rmtree(made, ignore_errors=True)
        made.parent.mkdir(exist_ok=True)
        words = ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(made))
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        (made / ".complete").touch()
    return made


class Box:
    """The container. `boot` it, `run` commands in it as root, `halt` it; its files are under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def make(self) -> None:
        words = ("cp", "-a", "--reflink=auto", str(tree()), str(self.folder))
        subprocess.run(words, check=True)
        (self.folder / "etc/machine-id").write_text("")
        (self.folder / "etc/hostname").write_text("uicps-box\n")

    def boot(self) -> None:
        options = ("--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe", "--quiet")
        self._nspawn = subprocess.Popen(
            ("systemd-nspawn", "-D", str(self.folder), *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._is_up, BOOT_S_MAX)

    def _child(self) -> int:
        assert self._nspawn
        assert self._nspawn.poll() is None, "the container ended"
        pid = self._nspawn.pid
        return int((Path(f"/proc/{pid}/task/{pid}/children").read_text().split() or ["0"])[0])

    def _is_up(self) -> bool:
        # Asked anew each time: the first child of nspawn is not yet the container's init.
        self._leader = self._child()
        if not self._leader:
            return False
        said = self.run("systemctl", "is-system-running", check=False)
        return said.strip() in ("running", "degraded")

    def command(self, *words: str) -> tuple[str, ...]:
        """`words` as a command of this machine that runs inside, with the environment of a login there."""
        plain = (
            "env",
            "-i",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
        )
        return ("nsenter", "-t", str(self._leader), "-a", *plain, *words)

    def run(self, *words: str, check: bool = True, stdin: str = "", timeout_s: float = 240) -> str:
        """What `words` print inside. CalledProcessError with it if they fail and `check`."""
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.returncode}\n{done.stdout[-4000:]}")
        return done.stdout

    @staticmethod
    def run_here(*words: str) -> None:
        """A command of this machine, on the files of a box that is halted."""
        subprocess.run(words, check=True)

    def beside(self, words: Sequence[str], out: Path) -> subprocess.Popen[bytes]:
        """A program of this machine in the container's network; what it prints goes to `out`."""
        with out.open("ab") as file:
            return subprocess.Popen(
                ("nsenter", "-t", str(self._leader), "-n", *words), stdout=file, stderr=subprocess.STDOUT
            )

    def halt(self, *, kill: bool = False) -> None:
        """Shut down in good order, or (`kill`) as a power cut does."""
        if self._nspawn is None or self._nspawn.poll() is not None:
            return
        if kill:
            with suppress(ProcessLookupError):
                os.kill(self._leader or self._nspawn.pid, 9)
        else:
            self.run("systemctl", "poweroff", check=False)
        try:
            self._nspawn.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()

    def bring(self, folder: Path, name: str) -> None:
        """Copy `folder` to /root/`name` of the box."""
        shutil.copytree(folder, self.folder / "root" / name, dirs_exist_ok=True)

    def status(self) -> dict[str, Any]:
        """What the agent says about itself; empty while it says nothing."""
        try:
            said = json.loads(self.run("cat", "/run/uicps-agent/status.json", check=False))
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    def show(self, name: str, unit: str = "uicps-agent") -> str:
        return self.run("systemctl", "show", unit, f"--property={name}", "--value").strip()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        file = self.folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)


def shared() -> float:
    """By how much others slow us down: 1 on a machine of our own, else what runs for each processor."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def wait_for(look: Callable[[], T], timeout_s: float, step_s: float = 0.2) -> T:
    """What `look` finds as soon as it finds something; AssertionError after `timeout_s`."""
    end_s = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < end_s, f"{look}: still {found!r} after {timeout_s:.0f} s"
        time.sleep(step_s)
    return found


def boots() -> bool:
    """Whether a box can be made and booted on this machine at all; it is thrown away again."""
    CACHE.mkdir(exist_ok=True)
    box = Box(CACHE / "probe")
    shutil.rmtree(box.folder, ignore_errors=True)
    try:
        box.make()
        box.boot()
    except (OSError, subprocess.SubprocessError, AssertionError, TimeoutError) as error:
        print(f"no box here: {error}", file=sys.stderr)
        return False
    finally:
        box.halt(kill=True)
        shutil.rmtree(box.folder, ignore_errors=True)
    return True


if __name__ == "__main__":
    sys.exit(not boots())
