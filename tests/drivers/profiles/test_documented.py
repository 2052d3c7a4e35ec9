"""Every profile printed in docs/profiles.md is one that the agent takes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from agent.schema import validate
from tests.drivers.profiles.reading import MODELS

TEXT = (Path(__file__).parents[3] / "docs" / "profiles.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=[str(at) for at in range(len(BLOCKS))])
def test_it_is_a_profile(block: str) -> None:
    data = tomllib.loads(block)
    validate(MODELS[data["driver"]], data, "docs/profiles.md")


def test_every_driver_is_shown() -> None:
    assert {tomllib.loads(block)["driver"] for block in BLOCKS} == set(MODELS)
