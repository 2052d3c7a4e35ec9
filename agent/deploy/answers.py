"""From a few answers to a configuration: the example file with the answers put in. Pure, but for `ask`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from agent.schema import Host, Name, Options, read

TOKEN_FILE = "credentials/center.token"  # noqa: S105 - its name
ADVICE = """\
# What is read. Any number of [[line]], each with its [[line.device]]s: config.example.toml beside this file
# shows every kind. Check it with: sudo uicps-agent check /etc/uicps-agent/config.toml
# and let it take effect with:     sudo systemctl restart uicps-agent
"""


class Answers(Options):
    """An answers file: what the questions ask, by name. Everything but `site` may be left out."""

    site: Name
    timezone: str = "America/Sao_Paulo"
    trust_clock: Literal["synchronised", "always"] = "synchronised"
    host: Host = "0.0.0.0"  # noqa: S104 - a gateway's page is for its network
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    center_host: str = ""
    center_port: Annotated[int, Field(ge=1, le=65535)] = 1883
    center_tls: bool = False
    center_token: str = ""


class Question(NamedTuple):
    key: str
    text: str
    needs: str = ""  # asked only if this answer is not empty


QUESTIONS = (
    Question("site", "Name of this site / Nome deste local (letters, digits, - and _)"),
    Question("timezone", "Time zone / Fuso horário"),
    Question(
        "host", "Page reachable at / Página acessível em (0.0.0.0: network / rede; 127.0.0.1: this box)"
    ),
    Question("port", "Port of the page / Porta da página"),
    Question("center_host", "ThingsBoard server / Servidor ThingsBoard (empty: none / vazio: nenhum)"),
    Question("center_port", "Its MQTT port / Porta MQTT", "center_host"),
    Question("center_tls", "TLS? (true/false)", "center_host"),
    Question("center_token", "Access token of the gateway device / Token do gateway", "center_host"),
)


def answers_in(file: Path) -> Answers:
    """The answers in a TOML file, or FaultyFile with every fault."""
    return read(Answers, file)


def ask(answer: Callable[[str], str], say: Callable[[str], None]) -> Answers:
    """Ask until each answer is good; an empty one takes the default."""
    given: dict[str, Any] = {}
    for question in QUESTIONS:
        if not question.needs or given.get(question.needs):
            given[question.key] = _asked(question, answer, say)
    return Answers(**given)


def _asked(question: Question, answer: Callable[[str], str], say: Callable[[str], None]) -> Any:
    field = Answers.model_fields[question.key]
    default = None if field.is_required() else field.default
    shown = "" if default in (None, "") else f" [{_toml(default)}]".replace('"', "")
    while True:
        text = answer(f"{question.text}{shown}: ").strip()
        if not text and default is not None:
            return default
        try:
            value = _parsed(text, default)
            Answers.model_validate({"site": "x", question.key: value})
        except ValueError as error:
            say(f"  {str(error).splitlines()[-1].strip()}")
        else:
            return value


def _parsed(text: str, default: Any) -> Any:
    if isinstance(default, bool):
        wanted = {"true": True, "yes": True, "y": True, "sim": True, "s": True}
        refused = {"false": False, "no": False, "n": False, "não": False, "nao": False}
        if text.lower() not in wanted | refused:
            raise ValueError("expected yes or no / sim ou não")
        return (wanted | refused)[text.lower()]
    if isinstance(default, int):
        if not text.isdecimal():
            raise ValueError(f"expected a whole number, found {text!r}")
        return int(text)
    return text


def config_text(example: str, answers: Answers, data_dir: Path) -> str:
    """The whole configuration: the example's tables up to the uplink, with the answers in place."""
    general, uplink = _cut(example, "# Where readings are forwarded to")
    uplink, _ = _cut(uplink, "[[uplink.room]]")
    agent = {"site": answers.site, "timezone": answers.timezone, "trust_clock": answers.trust_clock}
    text = fill(general, {"agent": {**agent, "data_dir": str(data_dir)}})
    text = fill(text, {"server": {"host": answers.host, "port": answers.port}})
    center = {"host": answers.center_host, "port": answers.center_port, "tls": answers.center_tls}
    if answers.center_host:
        text += fill(uplink, {"uplink": {**center, "token_file": TOKEN_FILE}})
    text += ADVICE
    tomllib.loads(text)
    return text


def _cut(text: str, at: str) -> tuple[str, str]:
    before, found, after = text.partition(at)
    if not found:
        raise RuntimeError(
            f"config.example.toml has no {at!r}: the installer and the example are of two versions"
        )
    return before, found + after


def fill(text: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    """`text` with the values of the given keys replaced in their tables; comments stay where they are."""
    lines, table = [], ""
    for line in text.splitlines():
        if head := re.match(r"\[+([a-z.]+)\]+", line):
            table = head[1]
        found = re.match(r"([a-z_]+) = (\"[^\"]*\"|\S+)(\s*)(#.*)?$", line)
        if found and found[1] in tables.get(table, {}):
            setting = f"{found[1]} = {_toml(tables[table][found[1]])}"
            lines.append(f"{setting:<33} {found[4]}" if found[4] else setting)
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A text, number or truth as TOML writes it (a basic string is written like JSON's)."""
    return json.dumps(value, ensure_ascii=False)
