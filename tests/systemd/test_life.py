"""The life of a box, from a fresh Debian to the last file removed, in the order in which it happens."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.systemd.box import ROOT, Box, shared, wait_for
from tests.systemd.wheels import next_release

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

EXPOSURE_MAX = 1.5
# On a machine of our own; stretched by as much as others use it.
BACK_S_MAX = 5.0
FORWARDED_S_MAX = 10.0
READINGS = "/var/lib/uicps-agent/readings.db"
JOURNAL = ("journalctl", "-q", "--no-pager", "-u", "uicps-agent")
CONFIG = "/etc/uicps-agent/config.toml"

ANSWERS = 'site = "box"\ntrust_clock = "always"\ncenter_host = "127.0.0.1"\ncenter_token = "T0KENT0KEN"\n'
LINE = """
[[line]]
name = "meters"
driver = "modbus-tcp"
host = "127.0.0.1"
port = 5020
[[line.device]]
name = "meter"
profile = "counter"
"""
PROFILE = """
driver = "modbus"
title = "Counts how often it was read"
source = ["tests/systemd/meter.py"]
[[group]]
name = "all"
interval_s = 0.2
point = [{ name = "count", kind = "total", type = "u32", address = 0 }]
"""
ASIDE = """
from pathlib import Path
from agent.control.grey_box import PRIOR
from agent.control.history import History
from agent.control.model import Model
from agent.control.planner import Day
from agent.control.room import HORIZON, Outlook, Room, Unit
from agent.control.site.aside import Aside
from agent.store.aside import Aside as Worker
import asyncio

async def packs():
    worker = Worker(Path("readings.db"), 1.0, nice=5)
    await worker("worker:ready")
    await worker.close()

outlook = Outlook(12, (True,) * HORIZON, (0.85,) * HORIZON)
model = Model(tuple(PRIOR.tolist()), 1200.0, 0.0, 0.3, 0)
aside = Aside()
planned = aside.plan(Day(Room("room", (Unit("ac"),)), model, History(), outlook, 29.0))
aside.rest()
asyncio.run(packs())
print("aside:", planned is not None and max(planned.load) > 0)
"""


@pytest.fixture
def centre(box: Box, tmp_path: Path) -> Iterator[Path]:
    """What arrives at the broker, a count a line."""
    out = tmp_path / "arrived"
    words = (str(ROOT / ".venv/bin/python"), str(ROOT / "tests/systemd/centre.py"), "1883")
    listener = box.beside(words, out)
    wait_for(lambda: "listening" in out.read_text(), 10)
    yield out
    listener.kill()
    listener.wait()


def counts(arrived: Path) -> list[int]:
    return [int(line) for line in arrived.read_text().splitlines() if line.isdecimal()]


def lost(arrived: list[int]) -> int:
    """How many counts between the first and the last to arrive never did."""
    return max(arrived) - min(arrived) + 1 - len(set(arrived))


def unread(box: Box) -> int:
    """Answers that the meter gave and nobody waited for any longer: they were never the agent's to lose."""
    return int(sum(line["counters"].get("timeouts", 0) for line in box.status()["lines"]))


def invocation(box: Box) -> str:
    return box.show("InvocationID")


def back(box: Box, before: str, timeout_s: float) -> float:
    """Seconds until another run of the agent is active."""
    began_s = time.monotonic()
    wait_for(lambda: invocation(box) != before and box.show("ActiveState") == "active", timeout_s, 0.05)
    return time.monotonic() - began_s


def test_one_command_from_a_fresh_box_to_a_running_service(box: Box) -> None:
    box.write("/root/answers.toml", ANSWERS)
    said = box.run("sh", "-c", "cd /root && ./bundle/install.sh --answers answers.toml")
    assert "running: " in said
    assert "page: https://uicps-box:8080" in said
    assert "setup code" in said
    assert "SHA-256" in said
    assert box.show("ActiveState") == "active"
    assert box.show("Type") == "notify"
    assert box.show("UnitFileState") == "enabled"
    assert box.show("WatchdogUSec") == "30s"
    assert "lines well" in box.show("StatusText")
    assert "uicps-a" in box.run("ps", "-o", "user=", "-p", box.show("MainPID"))


def test_it_is_locked_in(box: Box) -> None:
    said = box.run("systemd-analyze", "security", "--no-pager", "uicps-agent")
    exposure = re.search(r"Overall exposure level[^:]*: ([0-9.]+)", said)
    assert exposure
    assert float(exposure[1]) <= EXPOSURE_MAX
    left = re.findall(r"^✗ (\S+)", said, re.MULTILINE)
    table = (ROOT / "docs/operations.md").read_text().partition("| left | why |")[2].partition("\n\n")[0]
    explained = {each.replace("\\|", "|") for each in re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)}
    assert left
    assert set(left) == explained
    assert box.run("stat", "-c", "%a %U", "/etc/uicps-agent/credentials/center.token").strip() == "600 root"


def test_its_processes_may_start_and_work_in_there(box: Box) -> None:
    """Whatever the sandbox forbids: numpy, the solver, and what a child does to itself first."""
    box.write("/etc/uicps-agent/aside.py", ASIDE)
    drop_in = "/etc/systemd/system/uicps-agent.service.d/test.conf"
    before = "/opt/uicps-agent/current/bin/python ${CONFIGURATION_DIRECTORY}/aside.py"
    box.write(drop_in, f"[Service]\nExecStartPre={before}\n")
    box.run("systemctl", "daemon-reload")
    try:
        box.run("systemctl", "restart", "uicps-agent")
        assert "aside: True" in box.run(*JOURNAL, "-o", "cat", "-n", "100")
    finally:
        box.run("rm", drop_in, "/etc/uicps-agent/aside.py")
        box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "uicps-agent")


def test_a_meter_is_read_and_forwarded(box: Box, centre: Path) -> None:
    box.write("/etc/uicps-agent/profiles/counter.toml", PROFILE)
    with (box.folder / "etc/uicps-agent/config.toml").open("a") as config:
        config.write(LINE)
    box.run("sed", "-i", 's/^# profile_dir = .*/profile_dir = "profiles"/', "/etc/uicps-agent/config.toml")
    box.run("uicps-agent", "check", "/etc/uicps-agent/config.toml")
    box.run("systemctl", "restart", "uicps-agent")
    wait_for(lambda: len(counts(centre)) > 10, 20)
    assert lost(counts(centre)) == 0


def test_killed_it_is_back_at_once_and_nothing_is_lost(box: Box, centre: Path) -> None:
    wait_for(lambda: len(counts(centre)) > 5, 20)
    before = invocation(box)
    box.run("kill", "-9", box.show("MainPID"))
    seconds = back(box, before, 30)
    print(f"back after kill -9 in {seconds:.1f} s (shared by {shared():.1f})")
    assert seconds < BACK_S_MAX * shared()
    seen = len(counts(centre))
    wait_for(lambda: len(counts(centre)) > seen + 20, 20)
    # The answer that was under way when it died was never read by anyone.
    assert lost(counts(centre)) <= 1


def test_a_loop_that_stands_still_is_ended_by_the_watchdog(box: Box, centre: Path) -> None:
    box.write("/etc/systemd/system/uicps-agent.service.d/test.conf", "[Service]\nWatchdogSec=4\n")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "uicps-agent")
    before = invocation(box)
    time.sleep(6)
    assert invocation(box) == before, "fed, it lives longer than the watchdog"
    # The loop itself writes the status, in memory; into a pipe that nobody reads it never ends.
    pipe = "/run/uicps-agent/.status.json"
    box.run("sh", "-c", f"rm -f {pipe}; mkfifo {pipe} && chown uicps-agent: {pipe}")
    began_s = time.monotonic()
    wait_for(lambda: "atchdog timeout" in box.run(*JOURNAL, "-n", "60"), 40)
    box.run("rm", "-f", pipe, "/run/uicps-agent/status.json")
    back(box, before, 40)
    print(f"its loop blocked for good, back in {time.monotonic() - began_s:.1f} s (WatchdogSec=4)")
    seen = len(counts(centre))
    wait_for(lambda: len(counts(centre)) > seen + 10, 20)
    assert lost(counts(centre)) <= 2
    box.run("rm", "/etc/systemd/system/uicps-agent.service.d/test.conf")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "uicps-agent")


def test_a_disk_that_is_full_does_not_stop_it(box: Box, centre: Path) -> None:
    box.run("systemctl", "stop", "uicps-agent")
    box.run("mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", "/var/lib/uicps-agent")
    try:
        box.run("systemctl", "start", "uicps-agent")
        before = invocation(box)
        box.run("dd", "if=/dev/zero", "of=/var/lib/uicps-agent/full", "bs=64k", check=False)
        wait_for(lambda: not box.status().get("healthy", True), 60)
        seen = len(counts(centre))
        wait_for(lambda: len(counts(centre)) > seen + 30, 30)
        assert invocation(box) == before
        assert "cannot commit" in box.show("StatusText")
        box.run("rm", "/var/lib/uicps-agent/full")
        wait_for(lambda: box.status().get("healthy"), 30)
        assert invocation(box) == before
        assert lost(counts(centre)) <= unread(box)
    finally:
        box.run("systemctl", "stop", "uicps-agent")
        box.run("umount", "/var/lib/uicps-agent")
        box.run("systemctl", "start", "uicps-agent")


def test_it_comes_up_by_itself_and_forwards_soon(box: Box) -> None:
    box.halt()
    (box.folder / "var/log/mosquitto/mosquitto.log").unlink(missing_ok=True)
    box.boot()
    log = box.folder / "var/log/mosquitto/mosquitto.log"
    line = wait_for(lambda: re.search(r"(\d+): Received PUBLISH.*gateway/telemetry", log.read_text()), 60)
    began = box.run("date", "+%s", "-d", box.show("ExecMainStartTimestamp"))
    seconds = int(line[1]) - int(began)
    print(f"from the agent's start to the first reading at the broker: {seconds} s")
    assert 0 <= seconds < FORWARDED_S_MAX * shared()


def test_doctor_finds_it_well_and_its_bundle_has_no_secret(box: Box) -> None:
    wait_for(lambda: box.status().get("forwarded_readings"), 20)
    said = box.run("uicps-agent", "doctor", "--measure-s", "1", "--bundle", "/root/support.tar.gz")
    assert "BAD" not in said, said
    assert "uplink center: the running agent is logged in" in said
    box.run("tar", "-xzf", "/root/support.tar.gz", "-C", "/root")
    bundle = box.folder / "root/uicps-support"
    texts = {file.name: file.read_text() for file in bundle.iterdir()}
    assert "agent.service" in texts["journal.txt"]
    assert "setup code [removed]" in texts["journal.txt"]
    keys = (box.folder / "var/lib/uicps-agent/token-keys.json").read_text()
    for secret in ("T0KENT0KEN", *re.findall(r'"([A-Za-z0-9_=-]{16,})"', keys)):
        assert not [name for name, text in texts.items() if secret in text]


def test_doctor_says_what_is_wrong_and_what_to_do(box: Box) -> None:
    box.run("systemctl", "stop", "mosquitto")
    wait_for(lambda: not box.status().get("uplinks", [{"connected": True}])[0]["connected"], 20)
    said = box.run("uicps-agent", "doctor", "--measure-s", "1", check=False)
    assert re.search(r"BAD  uplink center: 127.0.0.1 port 1883: .*refused", said)
    box.run("systemctl", "start", "mosquitto")


def release_of(box: Box) -> str:
    return box.run("readlink", "/opt/uicps-agent/current").strip()


def test_a_good_upgrade(box: Box, bundle: Path, tmp_path: Path) -> None:
    refused = box.run("uicps-agent", "service", "upgrade", check=False)
    assert "this is the release that runs" in refused
    box.bring(next_release(bundle, tmp_path / "good", "0.1.1", {}), "good")
    said = box.run("uicps-agent", "service", "upgrade", "--wheelhouse", "/root/good/wheels", "--well-s", "3")
    assert "upgraded to 0.1.1-" in said
    assert "0.1.1-" in release_of(box)
    assert box.run("uicps-agent", "--version").strip() == "uicps-agent 0.1.1"
    wait_for(lambda: box.status().get("readings_per_s", 0) > 3, 20)


def ends_soon(text: str) -> str:
    """The agent with a bug that shows once it runs."""
    bug = '            log.info("stopping")\n'
    wait = "            await self._stopping.wait()\n"
    assert wait in text
    assert bug in text
    return text.replace(wait, "            await asyncio.sleep(4)\n            raise RuntimeError('a bug')\n")


def version_of(box: Box) -> int:
    with closing(sqlite3.connect(f"{(box.folder / READINGS[1:]).as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_a_bad_upgrade_goes_back_by_itself_code_and_data(box: Box, bundle: Path, tmp_path: Path) -> None:
    before, schema = release_of(box), version_of(box)
    changes = {
        "agent/service.py": ends_soon,
        "agent/store/schema/900_new.sql": lambda _: "CREATE TABLE newer (a INTEGER);\n",
    }
    box.bring(next_release(bundle, tmp_path / "bad", "0.1.2", changes), "bad")
    said = box.run(
        *("uicps-agent", "service", "upgrade", "--wheelhouse", "/root/bad/wheels", "--well-s", "20"),
        check=False,
    )
    assert "rolled back: " in said
    assert release_of(box) == before
    assert version_of(box) == schema
    wait_for(lambda: box.status().get("readings_per_s", 0) > 3, 20)
    assert "rolled back" in box.run("uicps-agent", "service", "status")


def test_a_release_that_cannot_take_over_the_data_changes_nothing(
    box: Box, bundle: Path, tmp_path: Path
) -> None:
    before, running = release_of(box), invocation(box)
    changes = {"agent/store/schema/900_new.sql": lambda _: "ALTER TABLE nowhere ADD COLUMN a;\n"}
    box.bring(next_release(bundle, tmp_path / "odd", "0.1.3", changes), "odd")
    said = box.run("uicps-agent", "service", "upgrade", "--wheelhouse", "/root/odd/wheels", check=False)
    assert "cannot be migrated" in said
    assert (release_of(box), invocation(box)) == (before, running)


def test_a_power_cut_in_the_middle_of_an_upgrade(box: Box, bundle: Path, tmp_path: Path) -> None:
    before = release_of(box)
    box.run("systemd-run", "uicps-agent", "service", "upgrade", "--wheelhouse", "/root/bad/wheels")
    wait_for(lambda: "0.1.2" in release_of(box), 120, 0.05)
    box.halt(kill=True)
    box.boot()
    wait_for(lambda: not (box.folder / "opt/uicps-agent/upgrade.json").exists(), 120)
    assert release_of(box) == before
    wait_for(lambda: box.status().get("readings_per_s", 0) > 3, 20)


def identity(box: Box) -> dict[str, str]:
    """By what the centre, browsers and people know the box."""
    return {
        "token": box.run("cat", "/etc/uicps-agent/credentials/center.token"),
        "authority": box.run(
            "sha256sum", "/var/lib/uicps-agent/tls/ca.pem", "/var/lib/uicps-agent/tls/ca.key"
        ),
        "signing keys": box.run("sha256sum", "/var/lib/uicps-agent/token-keys.json"),
        "users": box.run("uicps-agent", "user", "list", CONFIG),
    }


def rows(box: Box, what: str) -> int:
    with closing(sqlite3.connect(f"{(box.folder / READINGS[1:]).as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute(f"SELECT {what} FROM reading").fetchone()[0])


def test_another_card_is_the_same_box(box: Box, tmp_path: Path) -> None:
    """The card copied as it is, the box started from the copy."""
    before, had = identity(box), rows(box, "max(seq)")
    box.halt()
    copy = box.folder.with_name("card")
    box.run_here("rm", "-rf", str(copy))
    box.run_here("cp", "-a", "--reflink=auto", str(box.folder), str(copy))
    box.run_here("rm", "-rf", str(box.folder))
    copy.rename(box.folder)
    box.boot()
    wait_for(lambda: box.status().get("forwarded_readings"), 60)
    assert identity(box) == before
    wait_for(lambda: rows(box, "max(seq)") > had, 20)


def test_a_box_is_replaced_and_nobody_notices(box: Box, centre: Path) -> None:
    """Backed up while it works; a fresh box of another site is installed and becomes it."""
    password = "a password of the test 1"
    box.run("uicps-agent", "user", "add", CONFIG, "ana", stdin=f"{password}\n{password}\n")
    wait_for(lambda: len(counts(centre)) > 5, 20)
    before = identity(box)
    assert "ana" in before["users"]
    said = box.run("uicps-agent", "service", "backup", "/root/box.uicps")
    assert "read back whole" in said
    had, first = rows(box, "max(seq)"), rows(box, "min(seq)")
    # The old one goes; another one comes, which knows nothing.
    box.run("uicps-agent", "service", "uninstall", "--purge")
    # By question and answer, at a terminal; the first answer is none, the others are the defaults.
    typed = "no name\nfresh\n" + "\n" * 4
    said = box.run("script", "-qec", "/root/bundle/install.sh", "/dev/null", stdin=typed)
    assert said.count("Name of this site") == 2
    assert "page: https://uicps-box:8080" in said
    assert identity_differs(box, before)
    delivered = max(counts(centre))
    said = box.run("uicps-agent", "service", "restore", "/root/box.uicps")
    assert "running; " in said
    assert identity(box) == before
    seen = len(counts(centre))
    wait_for(lambda: len(counts(centre)) > seen + 20, 20)
    assert rows(box, "max(seq)") > had
    assert rows(box, "min(seq)") >= first
    again = [count for count in counts(centre)[seen:] if count <= delivered]
    # What was delivered between the backup's moment and the end of the old box may come twice, no more of it.
    print(f"sent again after the restore: {len(again)} readings")
    assert len(again) < delivered / 4
    assert "BAD" not in box.run("uicps-agent", "doctor", "--measure-s", "1", check=False)
    assert box.run("stat", "-c", "%a %U", "/etc/uicps-agent/credentials/center.token").strip() == "600 root"


def identity_differs(box: Box, before: dict[str, str]) -> bool:
    mine = box.run("sha256sum", "/var/lib/uicps-agent/tls/ca.pem", "/var/lib/uicps-agent/tls/ca.key")
    return mine != before["authority"]


def test_uninstalled_it_leaves_what_was_read_and_purged_nothing(box: Box) -> None:
    box.run("uicps-agent", "service", "uninstall")
    assert box.run("systemctl", "is-active", "uicps-agent", check=False).strip() != "active"
    assert (box.folder / READINGS[1:]).exists()
    assert not (box.folder / "opt/uicps-agent").exists()
    box.run("sh", "-c", "/root/bundle/install.sh")
    assert box.show("ActiveState") == "active"
    box.run("uicps-agent", "service", "uninstall", "--purge")
    left = box.run("find", "/opt", "/etc", "/var/lib", "/usr/local", "-name", "uicps-agent*")
    assert "uicps-agent" not in left
