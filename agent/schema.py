"""Reading a TOML file into typed options, with every fault found at once.

A fault names the file, the key path, what was expected and what was found, and offers the nearest
known key for an unknown one. Options classes live beside the code that uses them and derive from
`Options`: strict types, no unknown keys, immutable.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

FILE_BYTES_MAX = 4 * 1024 * 1024
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)]
Port = Annotated[int, Field(ge=1, le=65535)]


def _host(text: str) -> str:
    labels = text.removesuffix(".").split(".")
    try:
        text.encode("idna")
    except UnicodeError:
        labels = []
    if not labels or len(text) > 253 or any(not each or each.isspace() for each in labels):
        raise ValueError(f"expected a host name or an address, found {json.dumps(text[:80])}")
    return text


Host = Annotated[str, Field(min_length=1), AfterValidator(_host)]


def _as_path(value: object) -> object:
    return Path(value) if isinstance(value, str) and value else value


FilePath = Annotated[Path, BeforeValidator(_as_path)]


class Options(BaseModel):
    """Base of every options class: what the file says is what is meant, or it is a fault."""

    # Built when first used: most are part of another one, or of a kind that this site does not have.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class Fault(NamedTuple):
    """One thing wrong with a file, in words: `config.toml: store.size_max_mb: expected ..., found ...`."""

    file: str
    path: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


class ImpossibleError(ValueError):
    """What somebody asked for cannot be; the text says what was expected."""


class FaultyFile(Exception):  # noqa: N818  - it is the file that is at fault
    """Raised with every fault of the configuration, never only the first."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


Model = TypeVar("Model", bound=BaseModel)


def load_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file; FaultyFile says why it cannot be had."""
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise FaultyFile([Fault(str(file), "", f"expected at most {FILE_BYTES_MAX} bytes")])
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise FaultyFile([Fault(str(file), "", f"expected a readable file: {reason}")]) from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, too long a number, nested too deep
        raise FaultyFile([Fault(str(file), "", f"expected TOML: {error}")]) from error


def read(model: type[Model], file: Path) -> Model:
    """`file` as a `model`, or FaultyFile with all that is wrong with it."""
    return validate(model, load_toml(file), str(file))


def validate(model: type[Model], data: Mapping[str, Any], file: str) -> Model:
    """`data` as a `model`; `file` is the name that faults carry."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = [_fault(model, data, file, detail) for detail in error.errors(include_url=False)]
        raise FaultyFile(faults) from None


def _fault(model: type[BaseModel], data: Mapping[str, Any], file: str, detail: ErrorDetails) -> Fault:
    keys = _written_keys(data, detail["loc"], of_a_table=detail["type"] == "value_error")
    if detail["type"] == "union_tag_invalid":
        keys.append(str(detail["ctx"]["discriminator"]).strip("'"))
    return Fault(file, key_path(keys), _text(model, data, keys, detail))


def _written_keys(data: Any, loc: Iterable[int | str], *, of_a_table: bool = False) -> list[int | str]:
    """`loc` without the tags that pydantic inserts where a table's kind decides its shape.

    The last key may be a tag too where a table as a whole is at fault (`of_a_table`).
    """
    keys: list[int | str] = []
    steps = list(loc)
    for position, key in enumerate(steps):
        last = position == len(steps) - 1
        if isinstance(data, Mapping):
            if key not in data and (of_a_table or not last) and _is_tag(data, key):
                continue
            data = data.get(key)
        elif isinstance(data, list) and isinstance(key, int) and key < len(data):
            data = data[key]
        keys.append(key)
    return keys


def _is_tag(table: Mapping[str, Any], key: int | str) -> bool:
    return isinstance(key, str) and key in table.values()


def key_path(keys: Iterable[int | str]) -> str:
    """`["line", 1, "port"]` as `line[1].port`."""
    path = ""
    for key in keys:
        path += f"[{key}]" if isinstance(key, int) else f".{key}" if path else key
    return path


_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "is_instance_of": "a path in quotes",
    "list_type": "a list",
    "model_attributes_type": "a table",
    "model_type": "a table",
    "path_type": "a path in quotes",
    "string_type": "a text in quotes",
    "tuple_type": "a list",
}


def _text(model: type[BaseModel], data: Any, keys: Sequence[int | str], detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key{_did_you_mean(str(keys[-1]), _known_keys(model, data, keys[:-1]))}"
    if kind == "missing":
        return "expected a value, found none"
    if kind == "value_error":
        return str(context.get("error", detail["msg"]))
    if kind == "union_tag_not_found":
        key = str(context["discriminator"]).strip("'")
        return f"expected a key {key!r} that says what this is, found none"
    if kind == "union_tag_invalid":
        known, found = str(context["expected_tags"]), str(context["tag"])
        names = [name.strip().strip("'") for name in known.split(",")]
        return f'expected one of {known}, found "{found}"{_did_you_mean(found, names)}'
    expected = _EXPECTED.get(kind) or _constraint(detail)
    return f"expected {expected}, found {_shown(detail['input'])}"


def _constraint(detail: ErrorDetails) -> str:
    """Pydantic's own sentence, from "Input should be ..." on, with the pattern of a name in words."""
    if detail["type"] == "string_pattern_mismatch" and detail.get("ctx", {}).get("pattern") == NAME_PATTERN:
        return "a name of letters, digits, '-' and '_'"
    context = detail.get("ctx", {})
    if detail["type"] in _LENGTHS:
        noun = "items" if detail["type"].startswith("too") else "characters"
        return f"{_LENGTHS[detail['type']]} {context.get('min_length', context.get('max_length'))} {noun}"
    return detail["msg"].removeprefix("Input should be ").removeprefix("String should ")


_LENGTHS = {
    "too_short": "at least",
    "too_long": "at most",
    "string_too_short": "at least",
    "string_too_long": "at most",
}


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _did_you_mean(found: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(found, known, n=1, cutoff=0.6)
    if near:
        return f", did you mean '{near[0]}'?"
    return f"; known keys: {', '.join(sorted(known))}" if known else ""


def _known_keys(model: type[BaseModel], data: Any, keys: Sequence[int | str]) -> list[str]:
    """Names that the table at `keys` may hold, as TOML writes them."""
    kind: Any = model
    for key in keys:
        kind = _step(kind, data, key)
        data = _child(data, key)
    known = _choose(kind, data)
    if known is None:
        return []
    return [field.alias or name for name, field in known.model_fields.items()]


def _child(data: Any, key: int | str) -> Any:
    try:
        return data[key]
    except (KeyError, IndexError, TypeError):
        return None


def _step(kind: Any, data: Any, key: int | str) -> Any:
    """The annotation one key further into `kind`."""
    if isinstance(key, int):
        return next((arg for arg in get_args(_bare(kind)) if arg is not Ellipsis), None)
    model = _choose(kind, data)
    if model is not None:
        for name, field in model.model_fields.items():
            if key in (name, field.alias):
                return field.annotation
    return get_args(_bare(kind))[-1] if get_origin(_bare(kind)) in (dict, Mapping) else None


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _choose(kind: Any, data: Any) -> type[BaseModel] | None:
    """The options class meant by `kind`; of a union, the one whose fixed words `data` carries."""
    kind = _bare(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if get_origin(kind) not in (Union, UnionType):
        return None
    models = [model for arg in get_args(kind) if (model := _choose(arg, data)) is not None]
    for model in models:
        if isinstance(data, Mapping) and any(
            data.get(name) in get_args(field.annotation) for name, field in model.model_fields.items()
        ):
            return model
    return models[0] if len(models) == 1 else None
