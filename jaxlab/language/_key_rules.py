"""Tables of the keys that model files hold: what becomes of each. A key on no table is refused."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jaxlab.core.check import InputError

HONOURED, HARMLESS, ONLY = "honoured", "harmless", "only"


class Rule(NamedTuple):
    """What becomes of a key.

    Attributes:
      verdict: it is used; it changes nothing; or it asks for what there is with some values only.
      text: what it says, or why it changes nothing.
      values: the values that are accepted where only some are. A key that is null, or absent, asks for nothing.
    """

    verdict: str
    text: str
    values: tuple[Any, ...] = ()


Rules = Mapping[str, Rule]


def honoured(text: str) -> Rule:
    """A key that is used."""
    return Rule(HONOURED, text)


def only(*values: Any, text: str) -> Rule:
    """A key of which `values` are what the library does anyway."""
    return Rule(ONLY, text, values)


def harmless(text: str, keys: Iterable[str]) -> dict[str, Rule]:
    """Keys that change nothing, all for one reason."""
    return {key: Rule(HARMLESS, text) for key in keys}


def rule_of(rules: Rules, key: str) -> Rule | None:
    """The rule of a key: its own, or that of all keys that begin alike (`general.*`)."""
    if key in rules:
        return rules[key]
    begins = (name for name in rules if name.endswith("*") and key.startswith(name[:-1]))
    return next((rules[name] for name in begins), None)


def check_keys(where: Any, content: Mapping[str, Any], rules: Rules) -> None:
    """One line about the first key that asks for something else, or that nobody has judged."""
    for key, value in content.items():
        rule = rule_of(rules, key)
        if value is None or (rule is not None and rule.verdict != ONLY):
            continue
        if rule is None:
            raise InputError(
                f"{where}: {key} is {shown(value)}: this key is on no list of docs/model_files.md and may change what "
                "the model computes; delete it from the file if it does not"
            )
        if not any(
            value == each and isinstance(value, bool) == isinstance(each, bool) for each in rule.values
        ):
            allowed = " or ".join(map(repr, rule.values))
            raise InputError(
                f"{where}: {key} is {shown(value)}: {f'only {allowed} is' if allowed else 'not'} supported"
            )


def kept(content: Mapping[str, Any], rules: Rules) -> dict[str, Any]:
    """The keys that change nothing, for a file that is written anew."""
    rule = lambda key: rule_of(rules, key)
    return {key: value for key, value in content.items() if rule(key) and rule(key).verdict == HARMLESS}


def shown(value: Any) -> str:
    """A value in one short line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
