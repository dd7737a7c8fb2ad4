"""The API's description as a page to read, which loads nothing."""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import starmap
from typing import Any

from chalice.app import Response

Schema = Mapping[str, Any]

STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; color: #222; background: #fff; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid #ccc; }
h3 { margin-top: 2rem; }
h3 code { font-size: 1.1em; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1rem .25rem 0; }
th, td { border-bottom: 1px solid #eee; overflow-wrap: anywhere; }
code, pre { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: #f4f4f4; padding: .5rem; white-space: pre-wrap; }
a { color: #0550ae; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #161616; } a { color: #7ab7ff; } pre { background: #222; }
  h2, th, td { border-color: #444; }
}
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; frame-ancestors 'none'"
_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "{} characters or more",
    "maxLength": "{} characters at most",
    "pattern": "of the form {}",
    "default": "{} unless given",
}


def page(document: Schema) -> Response:
    info, schemas = document["info"], document["components"]["schemas"]
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    [server] = document["servers"]
    common = _common([operation["responses"] for _, _, operation in operations])
    parts = [
        f"<h1>{escape(info['title'])}</h1>",
        *(f"<p>{_code(text)}</p>" for text in info["description"].split("\n\n")),
        f"<p>At <code>{escape(server['url'])}</code>; as <a href='openapi.json'>openapi.json</a>.</p>",
        "<h2>Routes</h2>",
        _table(("route", ""), starmap(_entry, operations)),
        "<p>Any of them may also answer:</p>",
        _table(("answer", "", ""), starmap(_answer, common.items())),
        *(_operation(server["url"], common, *each) for each in operations),
        "<h2>What is sent and answered</h2>",
        *(_schema(name, schemas[name]) for name in sorted(schemas)),
    ]
    html = _HTML.format(title=escape(info["title"]), style=STYLE, body="\n".join(parts))
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY}
    return Response(html, headers)


def _common(responses: Sequence[Schema]) -> Schema:
    """What is answered by all alike."""
    first, *others = responses
    return {
        status: first[status] for status in first if all(each.get(status) == first[status] for each in others)
    }


def _entry(method: str, path: str, operation: Schema) -> tuple[str, ...]:
    route = f"<code>{escape(f'{method.upper()} {path}')}</code>"
    return f"<a href='#{escape(operation['operationId'])}'>{route}</a>", _code(operation["summary"])


def _operation(server: str, common: Schema, method: str, path: str, operation: Schema) -> str:
    scopes = [scope for each in operation["security"] for scope in each["token"]]
    route = escape(f"{method.upper()} {path}")
    own = {status: answer for status, answer in operation["responses"].items() if status not in common}
    return "\n".join(
        [
            f"<h3 id='{escape(operation['operationId'])}'><code>{route}</code></h3>",
            f"<p>{_code(operation['summary'])}.</p>",
            f"<pre>{escape(_curl(server, method, path, bool(scopes)))}</pre>",
            *(f"<p>Needs a token with the scope <code>{escape(scope)}</code>.</p>" for scope in scopes),
            *(f"<p>Takes {kind}.</p>" for kind in _kinds(operation.get("requestBody", {}))),
            _table(("parameter", "in", "", ""), map(_parameter, operation["parameters"])),
            _table(("answer", "", ""), starmap(_answer, own.items())),
        ]
    )


def _curl(server: str, method: str, path: str, needs_token: bool) -> str:
    verb = "" if method == "get" else f" -X {method.upper()}"
    token = ' -H "Authorization: Bearer $TOKEN"' if needs_token else ""
    return f"curl{verb}{token} {server}{path}"


def _parameter(parameter: Schema) -> tuple[str, ...]:
    name, place = (f"<code>{escape(parameter['name'])}</code>", escape(parameter["in"]))
    return name, place, _kind(parameter["schema"]), _code(parameter.get("description", ""))


def _answer(status: str, answer: Schema) -> tuple[str, ...]:
    return escape(status), ", ".join(_kinds(answer)), _code(answer["description"])


def _kinds(message: Schema) -> list[str]:
    return [_kind(content["schema"]) for content in message.get("content", {}).values()]


def _schema(name: str, schema: Schema) -> str:
    needed = schema.get("required", [])
    rows = (_member(each, of, each in needed) for each, of in schema["properties"].items())
    return "\n".join(
        [
            f"<h3 id='{escape(name)}'><code>{escape(name)}</code></h3>",
            f"<p>{_code(schema.get('description', ''))}</p>",
            _table(("member", "", ""), rows),
        ]
    )


def _member(name: str, schema: Schema, is_needed: bool) -> tuple[str, ...]:
    kind = _kind(schema) if is_needed else f"{_kind(schema)}, optional"
    return f"<code>{escape(name)}</code>", kind, _code(_about(schema))


def _about(schema: Schema) -> str:
    """The description, also where it stands in one of several kinds."""
    texts = [schema.get("description", ""), *(_about(each) for each in schema.get("anyOf", []))]
    return " ".join(filter(None, texts))


def _kind(schema: Schema) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_kind(schema['items'])}"
    if schema.get("additionalProperties"):
        return f"object of {_kind(schema['additionalProperties'])}"
    return ", ".join([escape(schema["type"]), *_bounds(schema)])


def _bounds(schema: Schema) -> Iterator[str]:
    for bound, words in BOUNDS.items():
        if bound in schema:
            yield words.format(f"<code>{escape(str(schema[bound]))}</code>")


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [_row("td", row) for row in rows]
    return "\n".join(["<table>", _row("th", heading), *lines, "</table>"]) if lines else ""


def _row(tag: str, cells: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _code(text: str) -> str:
    """Text with what stands in backquotes as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
