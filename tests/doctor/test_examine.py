"""The whole of it, as a person meets it: a broken configuration, no broker, a dead line."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable
from pathlib import Path

from agent.cli import main
from agent.doctor import Level
from agent.doctor.examine import examine
from agent.doctor.scrub import secrets_of

ROOT = Path(__file__).parent.parent.parent
SITE = """
[agent]
site = "x"
[server]
port = 0
[[line]]
name = "hall"
driver = "modbus-tcp"
host = "127.0.0.1"
port = {port}
[[line.device]]
name = "meter"
profile = "eastron-sdm630"
[[line]]
name = "roof"
driver = "modbus-tcp"
host = "no-such-name.invalid"
[[line.device]]
name = "other"
profile = "eastron-sdm630"
"""


async def test_a_faulty_configuration_hides_no_other_trouble(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[agent]\nsite = "x"\ndata_dir = "kept"\n[sever]\n')
    (tmp_path / "kept").mkdir(mode=0o700)
    (tmp_path / "kept/identity.db").write_text("no database at all")
    found = await examine(config, tmp_path, 1)
    faults = {each.subject: each.text for each in found if each.level is Level.FAULT}
    assert "did you mean 'server'?" in faults["config"]
    assert "identity.db: cannot be read" in faults["database"]
    assert {"disk", "clock", "data"} <= {each.subject for each in found}


async def test_gateways_are_tried_while_no_agent_runs(tmp_path: Path, free_port: Callable[[], int]) -> None:
    config = tmp_path / "config.toml"
    config.write_text(SITE.format(port=free_port()))
    found = {each.subject: each for each in await examine(config, tmp_path, 1)}
    assert "refused" in found["line hall"].text
    assert "is it on" in found["line hall"].way_out
    assert "no such name" in found["line roof"].text


def secret_options() -> list[str]:
    """Each option of the example that names a file with a secret."""
    text = (ROOT / "config.example.toml").read_text(encoding="utf-8")
    names = set(re.findall(r"^(?:# )?([a-z_]+_file) = ", text, re.MULTILINE))
    return sorted(names - {"ca_file", "cert_file", "rest_ca_file", "tls_cert_file", "controller_file"})


def test_a_bundle_has_none_of_the_secrets_that_an_option_can_name(tmp_path: Path) -> None:
    options = secret_options()
    assert len(options) >= 9
    secrets = {option: f"s3cret of {option.replace('_', '-')}" for option in options}
    for option, secret in secrets.items():
        (tmp_path / f"{option}.kept").write_text(f"{secret}\n")
    # Said where no shape gives them away: only by value can they be found.
    config = tmp_path / "config.toml"
    tables = (f'[[{option}_table]]\n{option} = "{option}.kept"\n' for option in options)
    config.write_text("".join(tables) + "".join(f"# {secret}\n" for secret in secrets.values()))
    assert set(secrets.values()) <= set(secrets_of(config))
    archive = tmp_path / "support.tar.gz"
    assert main(["doctor", str(config), "--measure-s", "1", "--bundle", str(archive)]) == 1
    with tarfile.open(archive) as tar:
        texts = [tar.extractfile(member).read().decode() for member in tar]  # type: ignore[union-attr]
    assert any("token_file" in text for text in texts)
    assert not [secret for secret in secrets.values() if any(secret in text for text in texts)]


def test_a_bundle_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    archive = tmp_path / "support.tar.gz"
    archive.write_text("another's")
    assert main(["doctor", str(tmp_path / "config.toml"), "--bundle", str(archive)]) != 0
    assert archive.read_text() == "another's"
