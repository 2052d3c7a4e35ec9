"""Another release of the agent, made from the wheel at hand: another version, files changed or added."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

Change = Callable[[str], str]


def next_release(bundle: Path, folder: Path, version: str, changes: Mapping[str, Change]) -> Path:
    """A copy of `bundle` in `folder` whose agent is `version`, each file of `changes` changed ("" if new)."""
    shutil.copytree(bundle, folder)
    wheels = folder / "wheels"
    (old,) = wheels.glob("uicps_agent-*.whl")
    old_version = old.name.split("-")[1]
    new = wheels / old.name.replace(f"-{old_version}-", f"-{version}-")
    left = {**changes, "agent/__init__.py": lambda text: text.replace(old_version, version)}
    with zipfile.ZipFile(old) as source, zipfile.ZipFile(f"{new}.part", "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            body = source.read(name)
            if change := left.pop(name, None):
                body = change(body.decode()).encode()
            if name.endswith(("dist-info/METADATA", "dist-info/RECORD")):
                body = _versioned(body, old_version, version)
            target.writestr(name.replace(f"agent-{old_version}.", f"agent-{version}."), body)
        for name, change in left.items():
            target.writestr(name, change(""))
    old.unlink()
    Path(f"{new}.part").rename(new)
    sums = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}"
        for file in sorted(wheels.glob("*.whl"))
    ]
    (wheels / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    return folder


def _versioned(body: bytes, old: str, new: str) -> bytes:
    text = body.decode().replace(f"\nVersion: {old}\n", f"\nVersion: {new}\n")
    return text.replace(f"agent-{old}.", f"agent-{new}.").encode()
