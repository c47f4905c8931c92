"""Docstrings as pages show them: sections become lists, equations and examples code; the rest is Markdown already."""

import importlib
import inspect
import pkgutil
import re
import textwrap
from typing import Any, NamedTuple

import jaxlab

SECTIONS = ("Args", "Returns", "Raises", "Attributes", "Reference", "References", "Example", "Yields")


class Public(NamedTuple):
    """A public name: where it is, what it is called there, what it is."""

    module: str
    name: str
    value: Any

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def doc(self) -> str:
        """Its docstring; a constant has none."""
        described = inspect.isfunction(self.value) or inspect.isclass(self.value) or callable(self.value)
        return inspect.getdoc(self.value) or "" if described else ""

    @property
    def line(self) -> str:
        """Its first sentence."""
        return self.doc.split("\n\n")[0].replace("\n", " ") or f"A constant: `{_short(repr(self.value))}`."


def rooms() -> list[str]:
    """Every room, `jaxlab.core` and so on, and the rooms in them."""
    return sorted(module.name for module in pkgutil.walk_packages(jaxlab.__path__, "jaxlab.") if module.ispkg)


def public(room: str) -> list[Public]:
    """What a room exports, then what its public modules define, each name once."""
    module = importlib.import_module(room)
    exported = ((name, getattr(module, name)) for name in module.__all__)
    found = [Public(room, name, value) for name, value in exported if not inspect.ismodule(value)]
    known = {id(one.value) for one in found}
    for info in pkgutil.iter_modules(module.__path__, f"{room}."):
        if not info.ispkg and not info.name.rpartition(".")[2].startswith("_"):
            own = importlib.import_module(info.name)
            names = [name for name, value in vars(own).items() if _defined(name, value, own)]
            found += [
                Public(info.name, name, getattr(own, name))
                for name in names
                if id(getattr(own, name)) not in known
            ]
    return found


def _defined(name: str, value: Any, module: Any) -> bool:
    mine = getattr(value, "__module__", None) == module.__name__
    return not name.startswith("_") and mine and (inspect.isfunction(value) or inspect.isclass(value))


def equation(doc: str) -> str:
    """The first block of a docstring that is set apart, before its sections: an equation, as a rule."""
    before = re.split(rf"^(?:{'|'.join(SECTIONS)}):", doc, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.search(r"(?:^|\n\n)((?: {4,}[^\n]*\n?|\n(?= {4}))+)", before)
    return textwrap.dedent(found.group(1)).strip("\n") if found else ""


def directive(one: Public) -> str:
    """The entry of one name, with an anchor that other pages and the search find."""
    kind = "class" if inspect.isclass(one.value) else "function" if callable(one.value) else "data"
    body = markdown(one.doc) or one.line
    return f"::::{{py:{kind}}} {one.path}{_signature(one.value)}\n\n{body}\n::::\n"


def _signature(value: Any) -> str:
    if not callable(value):
        return ""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return "()"
    shown = [
        p.replace(annotation=p.empty, default=_default(p.default)) for p in signature.parameters.values()
    ]
    return str(signature.replace(parameters=shown, return_annotation=signature.empty))


class _Plain(str):
    """Shown without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _default(value: Any) -> Any:
    if value is inspect.Parameter.empty or isinstance(value, int | float | str | bool | None):
        return value
    text = repr(value)
    return _Plain(text) if re.fullmatch(r"[\w., ()='{}:\[\]-]{1,40}", text) else _Plain("...")


def _short(text: str) -> str:
    return text if len(text) < 70 else text[:66] + " ..."


def markdown(doc: str) -> str:
    """A docstring as Markdown."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):[ \t]*", doc, flags=re.MULTILINE)
    shown = [_text(parts[0])]
    for title, body in zip(parts[1::2], parts[2::2]):
        body, example = _cut_example(body)
        body = textwrap.dedent(body if body.startswith("\n") else " " * 99 + body) if title else body
        entries = _entries(title, body.strip("\n"))
        shown.append(f"**{title}**\n\n{entries}")
        shown.append(example)
    return "\n\n".join(part for part in shown if part.strip())


def _cut_example(body: str) -> tuple[str, str]:
    """What stands before the doctest at the margin that ends a docstring, and it."""
    at = re.search(r"^>>> ", body, re.MULTILINE)
    return (body[: at.start()], _text(body[at.start() :])) if at else (body, "")


def _entries(title: str, body: str) -> str:
    """`name: text` becomes a list; other sections are text."""
    body = textwrap.dedent(body)
    if title not in ("Args", "Attributes", "Raises"):
        return _text(body)
    entries = re.split(r"\n(?=\S)", body)
    pairs = [re.match(r"([\w*, .`]+?):\s+(.*)", entry, re.DOTALL) for entry in entries]
    if not all(pairs):
        return _text(body)
    lines = [f"- `{pair[1].strip('`')}`: {_flowing(pair[2])}" for pair in pairs]
    return "\n".join(lines)


def _flowing(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text).strip()


def _text(text: str) -> str:
    """Paragraphs; what is indented or a doctest is code."""
    shown = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if block.lstrip().startswith(">>>"):
            shown.append(f"```pycon\n{textwrap.dedent(block)}\n```")
        elif block.startswith("    "):
            shown.append(f"```text\n{textwrap.dedent(block)}\n```")
        elif ">>> " in block:
            before, _, code = block.partition(">>> ")
            shown += [before.rstrip(), f"```pycon\n{textwrap.dedent('>>> ' + code)}\n```"]
        else:
            shown.append(textwrap.dedent(block))
    return "\n\n".join(shown)
