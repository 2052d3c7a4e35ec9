"""One box for the whole run: the tests of this folder are chapters of its life, in their order."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.box import CACHE, ROOT, Box

METER_UNIT = """\
[Unit]
Description=A meter
[Service]
ExecStart=/usr/bin/python3 /root/meter.py /root/served
Restart=always
[Install]
WantedBy=multi-user.target
"""
MOSQUITTO = "listener 1883 127.0.0.1\nallow_anonymous true\nlog_type all\nlog_timestamp_format %s\n"


@pytest.fixture(scope="session")
def bundle() -> Path:
    """What `make bundle` makes."""
    subprocess.run(("make", "bundle"), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return ROOT / "dist/bundle"


@pytest.fixture(scope="session")
def box(bundle: Path) -> Iterator[Box]:
    """A fresh Debian with a meter and a broker, and the bundle in /root."""
    CACHE.mkdir(exist_ok=True)
    box = Box(CACHE / "box")
    subprocess.run(("rm", "-rf", str(box.folder)), check=True)
    box.make()
    box.bring(bundle, "bundle")
    box.write("/root/meter.py", (ROOT / "tests/systemd/meter.py").read_text())
    box.write("/etc/systemd/system/meter.service", METER_UNIT)
    box.write("/etc/mosquitto/conf.d/box.conf", MOSQUITTO)
    try:
        box.boot()
        box.run("systemctl", "enable", "--now", "meter")
        yield box
    finally:
        box.halt(kill=True)
        subprocess.run(("rm", "-rf", str(box.folder)), check=True)
