"""What `--list` prints: a line a config, or all of one paper."""

import pathlib
from collections.abc import Mapping
from typing import Any

from experiments._config import load_module, name_of
from jaxlab.core import InputError
from jaxlab.training import report
from jaxlab.training.publish import APART, completed, load_results
from jaxlab.training.workdir import suggest

RESULTS = pathlib.Path("results")


def listing(wanted: str = "") -> str:
    """A line a config: its minutes, and the headline verdicts of every published variant.

    Args:
      wanted: a paper, `pld` or `distillation/pld`, of which all is told: its variants, claims and verdicts.

    Raises:
      InputError: if there is no such paper.
    """
    paths = {name_of(str(path)): path for path in sorted(pathlib.Path("configs").glob("[!_]*/[!_]*.py"))}
    if not paths:
        return "no configs here: run this from the folder that holds configs/"
    published = completed(load_results(RESULTS)) if RESULTS.is_dir() else {}
    if wanted:
        found = [name for name in paths if wanted in (name, name.rpartition("/")[2])]
        if not found:
            raise InputError(f"there is no paper {wanted!r}{suggest(wanted, [*paths, *map(_short, paths)])}")
        return "\n".join(_whole(name, paths[name], published) for name in found)
    width = max(len(str(path)) for path in paths.values())
    return "\n".join(_line(name, path, published, width) for name, path in paths.items())


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _line(name: str, path: pathlib.Path, published: Mapping[str, Mapping[str, Any]], width: int) -> str:
    minutes = load_module(str(path)).get_config(None).minutes
    said = [
        (f"{variant}: " if variant else "") + ", ".join(verdicts)
        for variant, result in _variants(name, published).items()
        if (verdicts := [claim["verdict"] for claim in result["claims"] if claim["kind"] == "headline"])
    ]
    return f"{path!s:<{width}}  {minutes:>6g} min  {'; '.join(said) or 'no headline published'}"


def _variants(name: str, published: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The published results of a config that stand by themselves, by variant, the default's under ""."""
    own = [
        result for result in published.values() if result["config"] == name and result["variant"] not in APART
    ]
    ordered = sorted(own, key=lambda result: result["variant"] != "default")
    return {"" if result["variant"] == "default" else result["variant"]: result for result in ordered}


def _whole(name: str, path: pathlib.Path, published: Mapping[str, Mapping[str, Any]]) -> str:
    module = load_module(str(path))
    config = module.get_config(None)
    variants = ", ".join(getattr(module, "VARIANTS", ())) or "none"
    lines = [f"{path}  (about {config.minutes:g} min)", f"    {config.paper}", f"    variants: {variants}"]
    results = {variant: found for variant, found in _variants(name, published).items() if found["claims"]}
    for variant, result in results.items():
        lines += [f"  {variant or 'default'}, {len(result['seeds'])} seeds:"]
        lines += [f"    - {own['kind']}: {own['text']}: {report.verdict(own)}" for own in result["claims"]]
    if "" not in results:
        kind = lambda said: said.get("kind", "headline")
        lines += [f"    - {kind(said)}: {said['text']}: not published yet" for said in config.claims]
    return "\n".join(lines)
