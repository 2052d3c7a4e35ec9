"""The unit files: of the agent (in the wheel), of an upgrade under way, and what one box needs besides."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from agent.deploy.layout import NAME, Layout

CLONE = Path(__file__).parent.parent.parent
PACKED = {"uicps-agent.service": "systemd/uicps-agent.service", "config.example.toml": "config.example.toml"}

UPGRADE_UNIT_TEXT = """\
# An upgrade of uicps-agent under way. Goes on after a crash or a power cut, by the code of the old release.
[Unit]
Description=UICPS Edge Agent: upgrade under way
ConditionPathExists={upgrade}
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart={keeper}/bin/uicps-agent service resume
Restart=on-failure
RestartSec=2
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""

# ProtectClock= denies asking the kernel whether the clock is right as well as setting it. Setting it still
# needs a capability, which the agent has not.
CLOCK_DROP_IN = """\
# The time of this box is kept by {keeper}, which says so by the kernel only (adjtimex).
[Service]
ProtectClock=no
SystemCallFilter=adjtimex clock_adjtime
"""
TIME_KEEPERS = ("chrony", "ntpsec", "ntp", "openntpd", "ptp4l", "gpsd")


def packed(name: str, package: str = __package__) -> str:
    """A text that the wheel carries, or the clone's own when running from one. OSError if neither has it."""
    inside = resources.files(package) / name
    if inside.is_file():
        return inside.read_text(encoding="utf-8")
    return (CLONE / PACKED[name]).read_text(encoding="utf-8")


def unit_of(release: Path) -> str:
    """The unit that `release` brings; OSError if it brings none."""
    for file in release.glob(f"lib/python3*/site-packages/agent/deploy/{NAME}.service"):
        return file.read_text(encoding="utf-8")
    raise OSError(f"{release}: expected a unit file in it, found none: this is not a release of the agent")


def upgrade_unit(layout: Layout) -> str:
    return UPGRADE_UNIT_TEXT.format(upgrade=layout.upgrade, keeper=layout.keeper)


def clock_drop_in(active: set[str]) -> str | None:
    """What a box needs whose time services are `active`; None: nothing."""
    if "systemd-timesyncd" in active:
        return None
    keeper = next((each for each in TIME_KEEPERS if each in active), None)
    return CLOCK_DROP_IN.format(keeper=keeper) if keeper else None
