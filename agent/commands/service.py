"""`service install|upgrade|backup|restore|uninstall|status`: the agent as a service under systemd."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import socket
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agent import __version__
from agent.config import load
from agent.deploy import databases, install, keep, upgrade
from agent.deploy.answers import Answers, answers_in, ask
from agent.deploy.host import Host, ask_health
from agent.deploy.layout import NAME, UPGRADE_UNIT, Layout
from agent.deploy.watch import Seen, watch
from agent.status_file import read_status

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

START_WELL_S = 3.0
FOLLOW_S = 1.0


def add_to(commands: Commands) -> None:
    """`service ACTION`."""
    text = "install, upgrade or remove the agent as a service of this box (needs root)"
    actions = commands.add_parser("service", help=text, description=text).add_subparsers(
        required=True, metavar="ACTION"
    )
    one = actions.add_parser("install", help="account, folders, release, configuration, unit; starts it")
    one.add_argument(
        "--answers", type=Path, metavar="FILE", help="a TOML file with the answers, nothing is asked"
    )
    one.add_argument("--config", type=Path, metavar="FILE", help="take this configuration, nothing is asked")
    one.add_argument(
        "--wheelhouse", type=Path, metavar="DIR", help="from these wheels, not from what runs now"
    )
    one.set_defaults(command=_install)
    one = actions.add_parser(
        "upgrade", help="install beside, try, switch, watch; goes back by itself if it fails"
    )
    one.add_argument("--wheelhouse", type=Path, metavar="DIR", help="the wheels of `make bundle`")
    one.add_argument(
        "--well-s", type=_seconds, default=upgrade.WELL_S, help="how long it must be well (%(default).0f s)"
    )
    one.set_defaults(command=_upgrade)
    one = actions.add_parser("backup", help="all that makes this box this box, in one file; it runs on")
    one.add_argument("file", type=Path, metavar="FILE", help="a new file, or a folder for it (a USB stick)")
    one.set_defaults(command=_backup)
    one = actions.add_parser("restore", help="make this box the one of a backup; what it was is kept beside")
    one.add_argument("file", type=Path, metavar="FILE")
    one.set_defaults(command=_restore)
    one = actions.add_parser("uninstall", help="stop and remove it; configuration and readings stay")
    one.add_argument("--purge", action="store_true", help="remove configuration, secrets and readings too")
    one.set_defaults(command=_uninstall)
    actions.add_parser("status", help="release, state, address, last upgrade").set_defaults(command=_status)
    one = actions.add_parser("resume")  # for the upgrade's own unit
    one.set_defaults(command=_resume)
    one = actions.add_parser("rehearse")  # asked of a new release by the old one
    one.add_argument("config", type=Path)
    one.add_argument("--scratch", type=Path, required=True)
    one.set_defaults(command=_rehearse)


def _seconds(text: str) -> float:
    if not text.isdecimal() or not 1 <= int(text) <= 3600:
        raise argparse.ArgumentTypeError(f"expected whole seconds, 1 to 3600, found {text!r}")
    return float(text)


def _install(arguments: argparse.Namespace) -> int:
    host, layout = Host(), Layout()
    host.must_be_root_under_systemd()
    if upgrade.read_journal(layout):
        raise OSError("an upgrade is under way: wait for its end (uicps-agent service status)")
    if arguments.config:
        load(arguments.config)
    answers = None if layout.config.exists() or arguments.config else _answers(arguments.answers)
    print("making the release ...")
    folder = install.make_release(layout, __version__, arguments.wheelhouse)
    install.make_folders(host, layout)
    if answers:
        install.write_config(layout, answers)
    elif arguments.config:
        shutil.copyfile(arguments.config, layout.config)
    else:
        print(f"{layout.config}: kept as it is")
    install.own_config(host, layout)
    load(layout.config)
    install.put_in_place(host, layout, folder)
    host.systemctl("enable", NAME)
    host.systemctl("restart", "--no-block", NAME)
    print("waiting until it is well ...")
    if reason := _watch(host, layout, START_WELL_S):
        print(f"installed, but {reason}; see: journalctl -u {NAME} -n 50", file=sys.stderr)
        return 1
    install.prune(layout)
    print(f"running: {folder.name}\npage: {address(layout)}")
    print(*install.news(host), sep="\n")
    print("next: uicps-agent doctor; what it reads is said in /etc/uicps-agent/config.toml")
    return 0


def _answers(file: Path | None) -> Answers:
    if file:
        return answers_in(file)
    if not sys.stdin.isatty():
        raise OSError("nobody is here to answer: give --answers FILE (see docs/operations.md)")
    return ask(input, print)


def _look(host: Host, url: str) -> Seen:
    state = host.state()
    complaint = ask_health(url) if state.active == "active" and url else ""
    return Seen(state, complaint)


def _watch(host: Host, layout: Layout, well_s: float) -> str:
    return watch(partial(_look, host, address(layout, own=True)), well_s)


def address(layout: Layout, *, own: bool = False) -> str:
    """Where the page is: for people on the network, or (`own`) for this box; "" if the port is not fixed."""
    server = load(layout.config).options.server
    if not server.port:
        return ""
    host = server.host
    if host in ("0.0.0.0", "::"):  # noqa: S104 - an address to reach, not to listen at
        host = "127.0.0.1" if own else socket.gethostname()
    scheme = "https" if getattr(server, "https", False) else "http"
    return f"{scheme}://[{host}]:{server.port}" if ":" in host else f"{scheme}://{host}:{server.port}"


def _upgrade(arguments: argparse.Namespace) -> int:
    host, layout = Host(), Layout()
    host.must_be_root_under_systemd()
    if layout.release is None:
        raise OSError("nothing is installed here: uicps-agent service install")
    if upgrade.read_journal(layout):
        host.systemctl("start", "--no-block", UPGRADE_UNIT)
        print("an upgrade is under way already, going on with it")
        return _follow(host, layout)
    if arguments.wheelhouse is None and Path(sys.prefix).resolve() == layout.release:
        raise OSError(
            "this is the release that runs: give --wheelhouse DIR, or run install.sh of a newer bundle"
        )
    print("making the release beside the one that runs ...")
    folder = install.make_release(layout, __version__, arguments.wheelhouse)
    try:
        print("trying its configuration and, on copies, its databases ...")
        changing = upgrade.rehearse(layout, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    print(f"switching to {folder.name}, watching it for {arguments.well_s:.0f} s ...")
    data_dir = load(layout.config).data_dir
    layout.upgraded.unlink(missing_ok=True)
    upgrade.begin(host, layout, folder, changing=changing, data_dir=data_dir, well_s=arguments.well_s)
    return _follow(host, layout)


def _follow(host: Host, layout: Layout) -> int:
    """Wait for the upgrade's end; whoever is cut off here misses only the last line."""
    while layout.upgrade.exists() or host.state(UPGRADE_UNIT).active == "activating":
        time.sleep(FOLLOW_S)
    said = (upgrade.outcome(layout) or {}).get("outcome", "no word of how it ended")
    print(said)
    return 0 if said.startswith("upgraded") else 1


def _resume(arguments: argparse.Namespace) -> int:
    host, layout = Host(), Layout()
    host.must_be_root_under_systemd()
    print(upgrade.resume(host, layout, partial(_watch, host, layout)))
    return 0


def _rehearse(arguments: argparse.Namespace) -> int:
    changing = asyncio.run(databases.rehearse(load(arguments.config).data_dir, arguments.scratch))
    print(json.dumps(changing))
    return 0


def _backup(arguments: argparse.Namespace) -> int:
    host, layout, now = Host(), Layout(), datetime.now(UTC)
    host.must_be_root_under_systemd()
    file = arguments.file
    if file.is_dir():
        file /= keep.default_name(load(layout.config).options.agent.site, now)
    size_bytes = keep.back_up(layout, file, __version__, now)
    print(f"{file}: {size_bytes / 1e6:.1f} MB, read back whole; it has every secret of this box in it")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    host, layout = Host(), Layout()
    host.must_be_root_under_systemd()
    if layout.release is None:
        raise OSError("nothing is installed here: install first (install.sh), then restore")
    manifest = keep.manifest_of(arguments.file)
    print(f"backup of {manifest['at']}, release {manifest['version']}: whole")
    try:
        keep.unpack(arguments.file, layout, lambda path: shutil.chown(path, NAME, NAME))
        load(keep.restored_config(layout))
        host.systemctl("stop", NAME)
        keep.swap(layout)
    finally:
        keep.drop(layout)
    install.make_folders(host, layout)
    install.own_config(host, layout)
    keep.give(layout, lambda path, mode: host.give(path, mode, NAME, NAME))
    host.systemctl("restart", "--no-block", NAME)
    print("waiting until it is well ...")
    if reason := _watch(host, layout, START_WELL_S):
        print(f"restored, but {reason}; see: journalctl -u {NAME} -n 50", file=sys.stderr)
        return 1
    print(f"running; what was here before: {layout.state}{keep.BESIDE}, {layout.config_dir}{keep.BESIDE}")
    print("the old box must stay off: two boxes with one token push each other out")
    return 0


def _uninstall(arguments: argparse.Namespace) -> int:
    host, layout = Host(), Layout()
    host.must_be_root_under_systemd()
    install.uninstall(host, layout, print, purge=arguments.purge)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    """0: it runs and is well; 1: it does not."""
    host, layout = Host(), Layout()
    state, release = host.state(), layout.release
    print(f"release   {release.name if release else 'none installed'}")
    print(f"state     {state.active}, {state.restarts} restarts since it was last started by hand")
    print(f"says      {state.status or 'nothing'}")
    status = read_status(layout.runtime)
    if status:
        print(f"readings  {status['stored_readings']} stored, {status['backlog_readings']} to deliver")
    if last := upgrade.outcome(layout):
        print(f"upgrade   {last['outcome']} ({last['at']})")
    if layout.upgrade.exists():
        print("upgrade   one is under way")
    return 0 if state.active == "active" and (status or {}).get("healthy", True) else 1
