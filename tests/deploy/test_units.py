"""What is packed into the wheel, and what one box needs besides."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.deploy.layout import Layout
from agent.deploy.units import PACKED, clock_drop_in, packed, unit_of, upgrade_unit

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", PACKED)
def test_a_clone_has_what_the_wheel_carries(name: str) -> None:
    assert packed(name) == (ROOT / PACKED[name]).read_text(encoding="utf-8")
    assert f'"agent/deploy/{name}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("active", "keeper"),
    [
        ({"systemd-timesyncd"}, None),
        (set(), None),
        ({"chrony"}, "chrony"),
        ({"chrony", "systemd-timesyncd"}, None),
    ],
)
def test_the_kernel_may_be_asked_only_where_nobody_else_says_whether_the_clock_is_right(
    active: set[str], keeper: str | None
) -> None:
    text = clock_drop_in(active)
    assert (text is None) == (keeper is None)
    assert text is None or (keeper or "") in text


def test_what_is_no_release_has_no_unit(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not a release"):
        unit_of(tmp_path)


def test_an_upgrade_goes_on_by_the_old_code(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert f"ExecStart={layout.keeper}/bin/uicps-agent service resume" in upgrade_unit(layout)


def test_what_is_said_by_the_unit_is_what_the_code_does() -> None:
    unit = packed("uicps-agent.service")
    layout = Layout()
    assert f"LoadCredential=credentials:{layout.credentials}\n" in unit
    assert "StateDirectory=uicps-agent\n" in unit
    assert f"ExecStart={layout.current}/bin/uicps-agent run" in unit
