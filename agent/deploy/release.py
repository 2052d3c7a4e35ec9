"""Making a release: a virtual environment of its own, from wheels or from the environment we run in."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from agent.deploy.host import Run, run
from agent.deploy.layout import COMPLETE, NAME, sync_folder

SUMS = "SHA256SUMS"
_SCRIPT = "#!{python}\nimport sys\nfrom agent.__main__ import start\nsys.exit(start())\n"
_HOMES = ("/root", "/home")
_PLACES = ("/usr/bin", "/usr/local/bin")


def python_for_service(homes: Sequence[str] = _HOMES, places: Sequence[str] = _PLACES) -> Path:
    """The interpreter that releases stand on. OSError if the service's account could not see it."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for place in places:
        if (python := Path(place) / version).exists():
            return python
    own = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]  # what venv itself asks
    if any(own.is_relative_to(home) for home in homes):
        raise OSError(
            f"{own}: expected {version} of the system, found it in a home folder, which the service "
            f"cannot see: apt-get install {version}, or run the installer with a Python of the system"
        )
    return own


def build(release: Path, wheels: Path | None, run: Run = run) -> None:
    """Make `release`, whole when this returns. OSError: it cannot be made, and is gone again."""
    release.mkdir(parents=True)
    try:
        run((str(python_for_service()), "-m", "venv", "--without-pip", str(release)))
        if wheels:
            _install(release, wheels, run)
        else:
            _copy_own(release)
            run((str(release / "bin/python"), "-m", "compileall", "-q", str(release / "lib")))
        run((str(release / "bin" / NAME), "--version"))
        (release / COMPLETE).touch()
        os.sync()  # thousands of files: what the next rename points at must be on disk before it
        sync_folder(release.parent)
    except BaseException:
        shutil.rmtree(release, ignore_errors=True)
        raise


def _install(release: Path, wheels: Path, run: Run) -> None:
    pip = next(iter(sorted(wheels.glob("pip-*.whl"))), None)
    if pip is None:
        raise OSError(f"{wheels}: expected the wheels of `make bundle`, found no pip-*.whl among them")
    words = ("install", "--quiet", "--no-index", "--disable-pip-version-check", "--no-cache-dir")
    run((str(release / "bin/python"), str(pip / "pip"), *words, "--find-links", str(wheels), NAME))


def version_in(wheels: Path) -> str:
    """The version of the agent's wheel among `wheels`; OSError unless there is exactly one."""
    found = sorted(wheels.glob("uicps_agent-*.whl"))
    if len(found) != 1:
        raise OSError(
            f"{wheels}: expected one uicps_agent-*.whl, found {len(found)}; make a folder with `make bundle`"
        )
    return found[0].name.split("-")[1]


def verify(wheels: Path) -> None:
    """Hold the wheels against SHA256SUMS beside them. OSError names the first that differs or is missing."""
    sums = wheels / SUMS
    if not sums.is_file():
        raise OSError(
            f"{sums}: missing, so nobody knows whether the copy is whole; make the folder with `make bundle`"
        )
    rows = (line.split(maxsplit=1) for line in sums.read_text(encoding="ascii").splitlines())
    listed = {name: sum_ for sum_, name in rows}
    unlisted = {file.name for file in wheels.glob("*.whl")} - listed.keys()
    for name in [*listed, *sorted(unlisted)]:
        file = wheels / name
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no such file"
        if found != listed.get(name):
            raise OSError(f"{file}: not what {SUMS} says ({found}): copy the folder again")


# ---------------------------------------------------------------- from our own environment


def _copy_own(release: Path) -> None:
    """Copy the agent and what it needs, in exactly the versions that run now."""
    site = next((release / "lib").glob("python3*")) / "site-packages"
    for distribution in needed(NAME):
        _copy(distribution, release, site)
    script = release / "bin" / NAME
    script.write_text(_SCRIPT.format(python=release / "bin/python"), encoding="utf-8")
    script.chmod(0o755)


def _copy(distribution: metadata.Distribution, release: Path, site: Path) -> None:
    name = distribution.metadata["Name"]
    if (distribution.read_text("direct_url.json") or "").find('"editable": true') >= 0:
        raise OSError(f"{name} runs from a clone: install with `sudo make install` there")
    own_site = Path(str(distribution.locate_file("")))
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        if ".." not in file.parts:
            target = site / file
        elif "share" in file.parts:
            target = release / Path(*file.parts[file.parts.index("share") :])
        else:
            continue  # scripts name the interpreter they were made for
        if source.is_file() and "__pycache__" not in file.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    if not distribution.files:
        raise OSError(
            f"{name} in {own_site}: has no list of its files, so it cannot be copied; install it with pip"
        )


def needed(name: str) -> Iterator[metadata.Distribution]:
    """The distribution `name` and all that it needs here, each once."""
    waiting, seen = [name], set()
    while waiting:
        key = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if key in seen:
            continue
        seen.add(key)
        try:
            distribution = metadata.distribution(key)
        except metadata.PackageNotFoundError:
            continue  # needed on other systems only
        yield distribution
        for requirement in distribution.requires or ():
            if "extra ==" not in requirement:
                waiting += re.findall(r"^[A-Za-z0-9._-]+", requirement)
