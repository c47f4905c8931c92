"""Chat templates, rendered by the rules that their authors wrote them for: those of transformers' Jinja."""

import dataclasses
import datetime
import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxlab.core.check import InputError
from jaxlab.language._extras import require

# A message's chain of thought has had three names; a template may read any of them.
_THOUGHTS = ("reasoning_content", "thinking", "reasoning")


def render(template: str, variables: Mapping[str, Any]) -> str:
    """The text of a template; whatever goes wrong in it is one line.

    Blocks leave no blank lines behind (`trim_blocks`, `lstrip_blocks`), a name that is not given is undefined, and
    nothing is escaped. The template is a program of somebody else's: it runs in a sandbox and changes no argument.
    """
    try:
        return _compiled(template).render(variables)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # anything may go wrong in somebody else's program
        raise InputError(f"the chat template refuses: {' '.join(str(error).split())}") from None


@functools.lru_cache(maxsize=64)
def _compiled(template: str) -> Any:
    return _environment().from_string(template)


@functools.cache
def _environment() -> Any:
    ext, nodes = require("jinja2.ext"), require("jinja2.nodes")
    sandbox, exceptions = require("jinja2.sandbox"), require("jinja2.exceptions")

    class Generation(ext.Extension):
        """`{% generation %} ... {% endgeneration %}` marks what the assistant said; its text is as without it."""

        tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def raise_exception(message: str) -> None:
        raise exceptions.TemplateError(message)

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda form: datetime.datetime.now().strftime(form),
    }
    return environment


def _to_json(value: Any, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
    """Plain JSON. Jinja's own filter sorts keys, escapes for HTML, and so escapes the special tokens beside it."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def plain_messages(messages: Any) -> list[dict[str, Any]]:
    """A conversation as templates expect it: dicts of plain values, without keys whose value is None."""
    if isinstance(messages, (str, bytes, Mapping)):
        raise InputError(f"messages must be a list of dicts, got {messages!r:.80}")
    found = []
    for given in messages:
        message = _as_mapping(given)
        if not isinstance(message, Mapping) or "role" not in message or len(message) < 2:
            raise InputError(f"message {given!r:.80} must be a dict with 'role' and 'content'")
        message = {key: value for key, value in plain(message).items() if value is not None}
        thought = next((message[name] for name in _THOUGHTS if name in message), None)
        if thought is not None:
            message = {"thinking": thought, **message, "reasoning_content": thought}
        found.append(message)
    if not found:
        raise InputError("messages are empty: a conversation has at least one")
    return found


def plain_dicts(name: str, given: Any) -> list[dict[str, Any]] | None:
    """Tools or documents: a list of dicts, or None."""
    if given is None:
        return None
    if isinstance(given, (str, bytes, Mapping)) or not all(isinstance(each, Mapping) for each in given):
        hint = ", such as get_json_schema of transformers makes of a function" if name == "tools" else ""
        raise InputError(f"{name} must be a list of dicts{hint}, got {given!r:.80}")
    return plain(list(given))


def plain(value: Any) -> Any:
    """The value in the types of JSON: what a template prints, compares and dumps must not depend on numpy."""
    value = _as_mapping(value)
    if isinstance(value, np.generic) or (hasattr(value, "__array__") and np.ndim(value) == 0):
        value = np.asarray(value).item()
    if value is None or isinstance(value, bool):
        return value
    # Members of an enumeration and other subclasses count as the value they are made of.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return (list if isinstance(value, list) else tuple)(map(plain, value))
    raise InputError(
        f"a chat template takes text, numbers, lists and dicts, got {type(value).__name__} {value!r:.60}"
    )


def _as_mapping(value: Any) -> Any:
    """Dataclasses, and objects that dump themselves as pydantic's do, as the dicts they stand for."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value.model_dump() if callable(getattr(value, "model_dump", None)) else value
