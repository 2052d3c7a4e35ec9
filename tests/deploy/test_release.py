"""Wheels that are whole, and what belongs to a release."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.deploy import release
from agent.deploy.host import run


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    lines = []
    for name in ("uicps_agent-0.2.0-py3-none-any.whl", "orjson-3.whl"):
        (tmp_path / name).write_bytes(name.encode())
        lines.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n")
    (tmp_path / release.SUMS).write_text("".join(lines))
    return tmp_path


def test_a_whole_folder_is_taken(wheels: Path) -> None:
    release.verify(wheels)
    assert release.version_in(wheels) == "0.2.0"


def test_one_byte_less_is_noticed(wheels: Path) -> None:
    (wheels / "orjson-3.whl").write_bytes(b"orjson-3.wh")
    with pytest.raises(OSError, match=r"orjson-3.whl: not what SHA256SUMS says"):
        release.verify(wheels)


def test_a_wheel_too_few_or_too_many_is_noticed(wheels: Path) -> None:
    (wheels / "stranger-1.whl").touch()
    with pytest.raises(OSError, match="stranger"):
        release.verify(wheels)
    (wheels / "stranger-1.whl").unlink()
    (wheels / "orjson-3.whl").unlink()
    with pytest.raises(OSError, match="no such file"):
        release.verify(wheels)


def test_a_folder_without_sums_is_not_trusted(wheels: Path) -> None:
    (wheels / release.SUMS).unlink()
    with pytest.raises(OSError, match="make bundle"):
        release.verify(wheels)


def test_two_agents_in_a_folder_are_one_too_many(wheels: Path) -> None:
    (wheels / "uicps_agent-0.3.0-py3-none-any.whl").touch()
    with pytest.raises(OSError, match="expected one uicps_agent"):
        release.version_in(wheels)


def test_what_is_needed_is_found_without_the_extras() -> None:
    names = {each.metadata["Name"].lower() for each in release.needed("uicps-agent")}
    assert {"uicps-agent", "aiohttp", "yarl", "orjson"} <= names
    assert not {"pytest", "amqtt", "ruff"} & names


def test_half_a_release_is_gone_again(wheels: Path, tmp_path: Path) -> None:
    folder = tmp_path / "releases/1"
    with pytest.raises(OSError, match=r"pip-\*\.whl"):
        release.build(folder, wheels, lambda command: "")
    assert not folder.exists()


def test_a_python_in_a_home_is_not_one_for_a_service() -> None:
    with pytest.raises(OSError, match="cannot see"):
        release.python_for_service(homes=("/",), places=())


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(OSError, match=r"ended with 3: no luck"):
        run(("sh", "-c", "echo no luck >&2; exit 3"))
