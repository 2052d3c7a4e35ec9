"""The REST API as an OpenAPI 3.1 document, made from the table that serves it, and as a page to read. Pure.

The page is plain HTML without any script, so that it works offline and under the strictest policy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from agent import __version__
from agent.server.route import Route
from agent.server.shapes import Fault

_SCHEMAS = "#/components/schemas/"
_PARAMETER = re.compile(r"\{(\w+)\}")

_REFUSALS: Mapping[int, str] = {
    400: "what was asked for cannot be meant; the text says why",
    401: "no good token",
    403: "the token does not allow this",
    408: "the body took too long",
    413: "the body is too large",
    503: "the agent has no such part, or cannot read its disk now",
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole of it, for JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "UICPS Edge Agent",
            "version": __version__,
            "description": "The REST API on the local network. See docs/api.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An access token from POST /token, or an API key.",
                },
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-z0-9]+', '_', route.path.lower())}".strip("_"),
        "summary": route.summary,
        "description": _needs(route),
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route),
    }
    if route.permission is None:
        operation["security"] = [{"basic": []}] if route.basic else []
    if route.body is not None:
        content = {"application/json": {"schema": _ref(route.body)}}
        needed = any(field.is_required() for field in route.body.model_fields.values())
        operation["requestBody"] = {"required": needed, "content": content}
    return operation


def _needs(route: Route) -> str:
    if route.permission is None:
        return "Needs a name and a password." if route.basic else "Needs no token."
    return f"Needs the permission `{route.permission}`."


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1}
    names = _PARAMETER.findall(route.path)
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in names]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema()
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(own)}
        for name, own in schema.get("properties", {}).items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is left out is no parameter: there is no null in a URL."""
    options = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if not options:
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return rest | (options[0] if len(options) == 1 else {"anyOf": options})


def _responses(route: Route) -> dict[str, Any]:
    refusals = dict(_REFUSALS)
    if route.permission is None:
        del refusals[401], refusals[403]
    refusals |= route.refuses
    fault = {"application/json": {"schema": _ref(Fault)}}
    found: dict[str, Any] = {
        str(status): {"description": text, "content": fault} for status, text in sorted(refusals.items())
    }
    if isinstance(route.answer, str):
        content: dict[str, Any] = {route.answer: {"schema": {"type": "string"}}}
        if route.path.endswith("export.csv"):
            content["application/gzip"] = {"schema": {"type": "string", "format": "binary"}}
    else:
        content = {"application/json": {"schema": _ref(route.answer) if route.answer else {}}}
    found |= {
        str(status): {
            "description": model.__doc__ or "",
            "content": {"application/json": {"schema": _ref(model)}},
        }
        for status, model in route.others.items()
    }
    return {str(route.status): {"description": "As asked", "content": content}} | found


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _SCHEMAS + model.__name__}


def _schemas(routes: Sequence[Route]) -> dict[str, Any]:
    models: dict[type[BaseModel], None] = {Fault: None}
    for route in routes:
        for model in (route.body, route.answer, *route.others.values()):
            if model is not None and not isinstance(model, str):
                models[model] = None
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template=_SCHEMAS + "{model}"
    )
    schemas: dict[str, Any] = found["$defs"]
    return schemas


# ---------------------------------------------------------------- the page

_STYLE = "/page/style.css"


def page(whole: Mapping[str, Any]) -> str:
    """`whole` for people: each route with its parameters, body and answers."""
    routes = [
        _section(method, path, operation)
        for path, operations in whole["paths"].items()
        for method, operation in operations.items()
    ]
    shapes = [
        f'<details id="{escape(name)}"><summary>{escape(name)}</summary>'
        f"<p>{escape(schema.get('description', ''))}</p>{_members(schema)}</details>"
        for name, schema in whole["components"]["schemas"].items()
    ]
    title = f"{whole['info']['title']} {whole['info']['version']}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="{_STYLE}"></head><body><main>'
        f"<h1>{escape(title)}: REST</h1>"
        '<p>For machines: <a href="/api/openapi.json">openapi.json</a>. A token comes from POST /token; '
        "send it as <code>Authorization: Bearer</code>.</p>"
        f"{''.join(routes)}<h2>Shapes</h2>{''.join(shapes)}</main></body></html>"
    )


def _section(method: str, path: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(_kind(each['schema']))}</td>"
        f"<td>{escape(each['schema'].get('description', ''))}</td></tr>"
        for each in operation["parameters"]
    )
    body = ""
    if "requestBody" in operation:
        body = f"<p>Body: {_link(operation['requestBody']['content']['application/json']['schema'])}</p>"
    answers = "".join(
        f"<li>{status}: {escape(answer['description'])} {_links(answer['content'])}</li>"
        for status, answer in operation["responses"].items()
    )
    return (
        f"<details><summary><code>{method.upper()} {escape(path)}</code> "
        f"{escape(operation['summary'])}</summary>"
        f"<p>{escape(operation['description'])}</p><table>{rows}</table>{body}<ul>{answers}</ul></details>"
    )


def _members(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_kind(own))}</td>"
        f"<td>{'' if name in required else 'may be left out'}</td></tr>"
        for name, own in schema.get("properties", {}).items()
    )
    return f"<table>{rows}</table>"


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_SCHEMAS)
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(str(each) for each in schema["enum"])
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return f"{kind}, {schema['default']} if left out" if schema.get("default") is not None else kind


def _link(schema: Mapping[str, Any]) -> str:
    name = escape(_kind(schema))
    return f'<a href="#{name}">{name}</a>' if "$ref" in schema else name


def _links(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{escape(kind)} {_link(each['schema'])}" for kind, each in content.items())
