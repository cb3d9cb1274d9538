"""A typed Python client, written out of nothing but an OpenAPI description. It needs no other package than Python 3.11.

Each schema becomes a TypedDict, each operation a method: what is in the path first, everything else by name. Pure.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.foundation.errors import Invalid

_METHODS = ("get", "post", "put", "patch", "delete")
_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_WIDTH = 118
_TAKEN = frozenset(
    [
        "Any",
        "Client",
        "HTTPError",
        "Literal",
        "Mapping",
        "NotRequired",
        "Problem",
        "Request",
        "TypeAlias",
        "TypedDict",
        "URLError",
    ]
)
"""Names that mean something else in the module."""

Schema = Mapping[str, Any]


def python_client(document: Mapping[str, Any]) -> str:
    """The source of the module. Raises Invalid for what is no OpenAPI 3.1 description."""
    try:
        if not str(document["openapi"]).startswith("3.1"):
            raise Invalid(f"openapi: {document['openapi']!r} is not a version that is understood; 3.1 is")
        info = document["info"]
        schemas = document.get("components", {}).get("schemas", {})
        parts = [_HEAD.replace("TITLE", info["title"]).replace("VERSION", info["version"])]
        parts += [_typed_dict(_name(name), schema) for name, schema in schemas.items() if name != "Problem"]
        parts.append("\n\n".join([_CLIENT.strip("\n"), *(_method(one) for one in _operations(document))]))
        return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"
    except (KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"openapi: the description is not whole ({error!r}); take it from /api/v1/openapi.json") from None


@dataclass(frozen=True, slots=True)
class _Parameter:
    """What a method takes for the path, the query or a header."""

    place: str
    name: str
    python: str
    kind: str
    required: bool


@dataclass(frozen=True, slots=True)
class _Operation:
    """One method of the client."""

    name: str
    verb: str
    path: str
    about: str
    parameters: tuple[_Parameter, ...]
    body: str | None
    """The type of its JSON body, or `bytes`."""
    body_required: bool
    returns: str


def _operations(document: Mapping[str, Any]) -> Iterator[_Operation]:
    for path, item in document["paths"].items():
        for verb in _METHODS:
            if verb in item and not _streams(item[verb]):
                yield _operation(path, verb, item[verb])


def _operation(path: str, verb: str, described: Schema) -> _Operation:
    body = described.get("requestBody")
    return _Operation(
        name=_identifier(described["operationId"]),
        verb=verb.upper(),
        path=path,
        about=str(described.get("description") or described.get("summary") or "").strip(),
        parameters=tuple(_parameter(one) for one in described.get("parameters", ()) if one["name"] not in _OF_ALL),
        body=None if body is None else _content(body),
        body_required=bool(body and body.get("required")),
        returns=_answer(described),
    )


_KEY_HEADER = "Idempotency-Key"
_OF_ALL = (_KEY_HEADER, "Dari-Reason")
"""Headers that the client sends by itself."""


def _parameter(described: Schema) -> _Parameter:
    required = bool(described.get("required"))
    kind = _type(described["schema"])
    return _Parameter(
        place=described["in"],
        name=described["name"],
        python=_identifier(described["name"]),
        kind=kind if required else _optional(kind),
        required=required,
    )


def _streams(described: Schema) -> bool:
    """Whether its answer has no end: that is for a client of its own."""
    return any("text/event-stream" in answer.get("content", {}) for answer in described["responses"].values())


def _content(described: Schema) -> str:
    found = described["content"].get("application/json")
    return _type(found["schema"]) if found else "bytes"


def _answer(described: Schema) -> str:
    for status, answer in described["responses"].items():
        if status.startswith("2"):
            if not answer.get("content"):
                return "None"
            return _content(answer)
    return "None"


def _type(schema: Schema) -> str:
    """The Python type of a JSON schema; what is not said may be anything."""
    if "$ref" in schema:
        return _name(schema["$ref"].rpartition("/")[2])
    if "const" in schema or "enum" in schema:
        return f"Literal[{', '.join(_literal(one) for one in schema.get('enum', [schema.get('const')]))}]"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return _union(_type(one) for one in schema[several])
    if len(schema.get("allOf", ())) == 1:
        return _type(schema["allOf"][0])
    kind = schema.get("type")
    if isinstance(kind, list):
        return _union(_type({**schema, "type": one}) for one in kind)
    if kind == "array":
        return f"list[{_type(schema.get('items', {}))}]"
    if kind == "object":
        held = schema.get("additionalProperties")
        return f"dict[str, {_type(held) if isinstance(held, Mapping) else 'Any'}]"
    if kind == "string" and schema.get("format") == "binary":
        return "bytes"
    return _PLAIN.get(str(kind), "Any")


def _union(types: Iterator[str]) -> str:
    several = list(dict.fromkeys(types))
    return "Any" if "Any" in several else " | ".join(several)


def _optional(kind: str) -> str:
    return kind if kind == "Any" or kind.endswith("None") else f"{kind} | None"


def _typed_dict(name: str, schema: Schema) -> str:
    """The definition of a named schema."""
    if "properties" not in schema:
        return f"{name}: TypeAlias = {_quoted(_type(schema))}\n{_docstring(schema, '')}".rstrip()
    required = set(schema.get("required", ()))
    fields = {
        key: kind if key in required else f"NotRequired[{kind}]"
        for key, kind in ((key, _type(value)) for key, value in schema["properties"].items())
    }
    if all(key.isidentifier() and not keyword.iskeyword(key) for key in fields):
        lines = [f"class {name}(TypedDict):", _docstring(schema, "    ")]
        for key, kind in fields.items():
            lines += [f"    {key}: {kind}", _docstring(schema["properties"][key], "    ")]
        return "\n".join(line for line in lines if line)
    listed = ", ".join(f"{json.dumps(key)}: {json.dumps(kind)}" for key, kind in fields.items())
    return f'{name} = TypedDict("{name}", {{{listed}}})'


def _quoted(kind: str) -> str:
    """As a value: names may stand before what they name."""
    return kind if kind.startswith("Literal[") or kind in _PLAIN.values() else json.dumps(kind)


def _docstring(described: Schema, indent: str) -> str:
    text = " ".join(str(described.get("description", "")).split()).replace("\\", "\\\\").replace('"""', "'''")
    if not text:
        return ""
    return f'{indent}"""{text} """' if text.endswith('"') else f'{indent}"""{text}"""'


def _method(one: _Operation) -> str:
    by_place = [each for each in one.parameters if each.place == "path"]
    named = [each for each in one.parameters if each.place != "path"]
    takes = ["self", *(f"{each.python}: {each.kind}" for each in by_place)]
    if one.body is not None:
        takes.append(f"body: {one.body}" if one.body_required else f"body: {_optional(one.body)} = None")
    if one.body == "bytes":
        takes.append("content_type: str")
    keyed = [f"{each.python}: {each.kind}" + ("" if each.required else " = None") for each in named]
    if one.verb == "POST":
        keyed.append("idempotency_key: str | None = None")
    if keyed:
        takes += ["*", *keyed]
    calls = [
        f'"{one.verb}"',
        f"{_path(one.path, by_place)}",
        f"query={_pairs([each for each in named if each.place == 'query'])}",
        f"headers={_headers(one, [each for each in named if each.place == 'header'])}",
    ]
    if one.body is not None:
        calls.append("body=body")
    head = f"    def {one.name}({', '.join(takes)}) -> {one.returns}:"
    if len(head) > _WIDTH:
        head = f"    def {one.name}(\n        {', '.join(takes)},\n    ) -> {one.returns}:"
    call = f"self._ask({', '.join(calls)})"
    result = call if one.returns == "None" else f"return cast({json.dumps(one.returns)}, {call})"
    return "\n".join(
        line for line in (head, _docstring({"description": one.about}, "        "), f"        {result}") if line
    )


def _path(path: str, parameters: list[_Parameter]) -> str:
    for each in parameters:
        path = path.replace(f"{{{each.name}}}", f"{{_quote({each.python})}}")
    return f'f"{path}"' if parameters else f'"{path}"'


def _pairs(parameters: list[_Parameter]) -> str:
    return "{" + ", ".join(f"{json.dumps(each.name)}: {each.python}" for each in parameters) + "}"


def _headers(one: _Operation, parameters: list[_Parameter]) -> str:
    pairs = [f"{json.dumps(each.name)}: {each.python}" for each in parameters]
    if one.verb == "POST":
        pairs.append(f'"{_KEY_HEADER}": idempotency_key or str(uuid4())')
    if one.body == "bytes":
        pairs.append('"Content-Type": content_type')
    return "{" + ", ".join(pairs) + "}"


def _literal(value: object) -> str:
    return repr(value) if value is None or isinstance(value, bool) else json.dumps(value, ensure_ascii=False)


def _name(schema: str) -> str:
    """A schema's name as a class's: Page[AccountShown] is PageAccountShown."""
    name = "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", schema))
    return f"{name}_" if name in _TAKEN else name


def _identifier(name: str) -> str:
    plain = re.sub(r"\W", "_", name).lower()
    return f"{plain}_" if keyword.iskeyword(plain) else plain


_HEAD = '''
"""Client of TITLE's API, version VERSION. Made by `dari api client`; make it anew instead of changing it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen
from uuid import uuid4


class Problem(Exception):
    """An error answer: go by `code`."""

    def __init__(self, told: Mapping[str, Any], after: float | None) -> None:
        super().__init__(str(told.get("detail", "")))
        self.status = int(told.get("status", 0))
        self.code = str(told.get("code", ""))
        self.errors: list[dict[str, Any]] = list(told.get("errors", []))
        self.after = after
        """Seconds after which to try again, when that helps."""


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    return {name: json.dumps(value) if isinstance(value, bool) else value for name, value in values.items()}


def _quote(value: object) -> str:
    return quote(str(value), safe="")
'''

_CLIENT = '''
class Client:
    """The API at `base`, as whoever `token` belongs to: an API key, or a session. None: only what is open to all.

    `reason` is why one looks, which auditors have to say.
    What says that it may be tried again later is tried again, `tries` times in all; a POST keeps its Idempotency-Key
    meanwhile, so that it is done once.
    """

    def __init__(
        self, base: str, token: str | None = None, *, reason: str | None = None, timeout: float = 30.0, tries: int = 3
    ) -> None:
        self._base = base.rstrip("/")
        self._token = token
        self._reason = reason
        self._timeout = timeout
        self._tries = tries
        self.etag: str | None = None
        """Of the last answer: what an edit names as `if_match`."""

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object],
        headers: Mapping[str, object],
        body: object = None,
    ) -> Any:
        said = {name: value for name, value in query.items() if value is not None}
        url = self._base + path + ("?" + urlencode(_plain(said), doseq=True) if said else "")
        told = {name: str(value) for name, value in headers.items() if value is not None}
        request = Request(url, method=method, headers=told)
        if self._token is not None:
            request.add_header("Authorization", f"Bearer {self._token}")
        if self._reason is not None:
            request.add_header("Dari-Reason", quote(self._reason))
        if isinstance(body, bytes):
            request.data = body
        elif body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        for left in reversed(range(self._tries)):
            try:
                return self._answer(request)
            except Problem as problem:
                if problem.after is None or not left:
                    raise
                time.sleep(problem.after)
        raise AssertionError("unreachable")

    def _answer(self, request: Request) -> Any:
        try:
            with urlopen(request, timeout=self._timeout) as answer:
                self.etag = answer.headers.get("ETag")
                content, kind = answer.read(), answer.headers.get_content_type()
        except HTTPError as error:
            with error:
                told = json.loads(error.read() or b"{}")
            after = error.headers.get("Retry-After")
            raise Problem(told, float(after) if after else None) from None
        except URLError as error:
            raise Problem({"code": "no_answer", "detail": str(error.reason)}, 1.0) from None
        if not content:
            return None
        return json.loads(content) if kind == "application/json" else content

'''
