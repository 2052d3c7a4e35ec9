"""What is committed in agent/server/page is what web/ gives."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
WEB = ROOT / "web"
BUILT = ROOT / "agent" / "server" / "page"
REASONS = "../agent/control/site/reasons.pt-BR.json"  # which the page is built with too


def test_the_build_is_of_these_sources() -> None:
    """Needs no Node: build.mjs writes the fingerprint of what it read into what it makes."""
    files = [each for each in (WEB / "src").rglob("*") if each.is_file()]
    names = [each.relative_to(WEB).as_posix() for each in files]
    digest = hashlib.sha256()
    for name in sorted([*names, REASONS, "build.mjs", "package-lock.json"]):
        digest.update(f"{name}\0".encode() + (WEB / name).read_bytes() + b"\0")
    for built in ("app.js", "style.css"):
        found = re.search(r"do not edit: ([0-9a-f]{64})", (BUILT / built).read_text(encoding="utf-8"))
        assert found, built
        assert found[1] == digest.hexdigest(), "the page is not built from these sources: run `make page`"


@pytest.mark.skipif(not shutil.which("node") or not (WEB / "node_modules").is_dir(), reason="needs Node")
def test_building_again_gives_the_same(tmp_path: Path) -> None:
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=WEB, check=True, timeout=60)
    assert {each.name for each in tmp_path.iterdir()} == {each.name for each in BUILT.iterdir()}
    for each in tmp_path.iterdir():
        assert each.read_bytes() == (BUILT / each.name).read_bytes(), each.name


def test_nothing_is_inline_or_from_elsewhere() -> None:
    index = (BUILT / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", index)
    assert not re.search(r"""(src|href)=["'](https?:)?//""", index)
    assert not re.search(r"url\(|@import", (BUILT / "style.css").read_text(encoding="utf-8"))
    assert "MIT License" in (BUILT / "app.js").read_text(encoding="utf-8")  # uPlot's, which it must carry
