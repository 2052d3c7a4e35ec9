"""From answers to a configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.config import load
from agent.deploy.answers import QUESTIONS, TOKEN_FILE, Answers, answers_in, ask, config_text, fill
from agent.schema import FaultyFile

EXAMPLE = (Path(__file__).parent.parent.parent / "config.example.toml").read_text(encoding="utf-8")


def said(*lines: str) -> Callable[[str], str]:
    waiting: Iterator[str] = iter(lines)
    return lambda question: next(waiting)


def test_a_site_without_a_centre_is_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(config_text(EXAMPLE, Answers(site="farm"), Path("/var/lib/uicps-agent")))
    options = load(file).options
    assert (options.agent.site, str(options.agent.data_dir)) == ("farm", "/var/lib/uicps-agent")
    assert options.server.host == "0.0.0.0"
    assert (options.uplink, options.line) == ([], [])


def test_a_centre_gets_its_token_from_a_file_of_its_own(tmp_path: Path) -> None:
    answers = Answers(
        site="farm", center_host="tb.example", center_port=8883, center_tls=True, center_token="s3cr3t"
    )
    text = config_text(EXAMPLE, answers, tmp_path)
    assert "s3cr3t" not in text
    (tmp_path / TOKEN_FILE).parent.mkdir()
    (tmp_path / TOKEN_FILE).touch(mode=0o600)
    (tmp_path / TOKEN_FILE).write_text("s3cr3t")
    (tmp_path / "config.toml").write_text(text)
    (uplink,) = load(tmp_path / "config.toml").options.uplink
    assert (uplink.host, uplink.port, uplink.tls) == ("tb.example", 8883, True)


def test_a_name_with_quotes_and_a_backslash_stays_what_it_is() -> None:
    answers = Answers(site="farm", timezone="America/Sao_Paulo", center_host="tb", center_token="x")
    text = config_text(EXAMPLE, answers, Path('/srv/a"b\\c'))
    assert tomllib.loads(text)["agent"]["data_dir"] == '/srv/a"b\\c'


def test_comments_of_the_example_stay() -> None:
    text = config_text(EXAMPLE, Answers(site="farm"), Path("/data"))
    assert 'log_level = "info"                # debug, info, warning or error' in text


def test_only_the_named_table_is_filled() -> None:
    assert fill("[a]\nx = 1 # one\n[[b.c]]\nx = 2\n", {"a": {"x": 5}}) == (
        f"[a]\n{'x = 5':<33} # one\n[[b.c]]\nx = 2\n"
    )


def test_empty_answers_take_the_default_and_the_centre_is_asked_only_if_there_is_one() -> None:
    assert ask(said("farm", "", "", "", ""), print) == Answers(site="farm")


def test_what_is_wrong_is_asked_again_with_the_reason() -> None:
    complaints: list[str] = []
    answers = ask(
        said("", "my farm", "farm", "", "", "http", "99999", "80", "tb", "1884", "maybe", "sim", "T"),
        complaints.append,
    )
    assert answers == Answers(
        site="farm", port=80, center_host="tb", center_port=1884, center_tls=True, center_token="T"
    )
    assert len(complaints) == 5


def test_every_question_is_of_an_answer() -> None:
    assert {each.key for each in QUESTIONS} <= Answers.model_fields.keys()


def test_a_faulty_answers_file_names_every_fault(tmp_path: Path) -> None:
    file = tmp_path / "answers.toml"
    file.write_text('sight = "x"\nport = "80"\n')
    with pytest.raises(FaultyFile) as caught:
        answers_in(file)
    assert len(caught.value.faults) == 3
