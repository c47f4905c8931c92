"""Results under version control: what a run leaves there, and what all of them together say of each."""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxlab.metrics import benjamini_hochberg, t_interval
from jaxlab.training._disk import writing
from jaxlab.training.metrics import Row, series, to_json, write_atomically
from jaxlab.training.verdicts import qualified

FORMAT = 2  # of a published result: claims with kinds and the verdicts of `training.verdicts`
MOST_POINTS = 50
MOST_BYTES = 60_000

APART = ("long", "map", "tune", "smoke")  # variants that bring no headline of their own


def load_results(directory: str | pathlib.Path) -> dict[str, dict[str, Any]]:
    """Every published result below a folder, by name such as "distillation/pld".

    Args:
      directory: the repository's `results`.
    """
    found = sorted(path for path in pathlib.Path(directory).glob("*/*.json") if "." not in path.stem)
    return {f"{path.parent.name}/{path.stem}": json.loads(path.read_text()) for path in found}


def publish(
    target: str | pathlib.Path, result: Mapping[str, Any], rows: Sequence[Row], *, settings: Mapping[str, Any]
) -> None:
    """Write a result, with its settings and the looks before it, and beside it its curves.

    Args:
      target: `results/<family>/<paper>.json`; what lies there is replaced, and remembered as an earlier look. The
        curves go to `<paper>.curves.json`.
      result: of `training.run`.
      rows: of its metrics.jsonl.
      settings: the resolved config, with the settings of every arm.
    """
    target = pathlib.Path(target)
    before = json.loads(target.read_text()) if target.exists() else None
    content = {
        "format": FORMAT,
        **result,
        "earlier_looks": earlier_looks(before, result),
        "settings": settings,
    }
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, json.dumps(to_json(content), indent=1) + "\n")
    write_atomically(
        target.with_suffix(".curves.json"), json.dumps(thin_curves(rows), separators=(",", ":")) + "\n"
    )


def earlier_looks(before: Mapping[str, Any] | None, result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was seen before this result: the looks of the one that it replaces, and that one itself.

    Args:
      before: the published result that is replaced, or None.
      result: the new one; if it has the numbers of the other, it is the same look.

    Returns:
      Dicts with `commit`, `seeds`, and `claims`, `{name: [effect, verdict]}`.
    """
    if before is None:
        return []
    looks = list(before.get("earlier_looks", ()))
    if before["arms"] == result["arms"]:
        return looks
    claims = {
        claim.get("name", claim["text"]): [claim.get("effect", claim.get("difference")), claim["verdict"]]
        for claim in before["claims"]
    }
    return [*looks, {"commit": before["commit"], "seeds": before["seeds"], "claims": claims}]


def thin_curves(rows: Sequence[Row], *, limit: int = MOST_BYTES) -> dict[str, Any]:
    """The curves of a run, small enough to keep: means over seeds and half widths of their 95 % t intervals.

    At most fifty points a curve, evenly spread with the first and the last among them; then as many as fit. What does
    not fit with twelve goes without half widths, what does not fit with eight without metrics of training.

    Args:
      rows: of metrics.jsonl.
      limit: bytes of the JSON text.

    Returns:
      `{arm: [{"steps": [T], "mean": {metric: [T]}, "half": {metric: [T]}}]}` with four significant digits, metrics that
      were logged at the same steps together.
    """
    own: dict[str, list[Row]] = {}
    for row in rows:
        own.setdefault(row["arm"], []).append(row)
    full = {arm: _curves(found) for arm, found in own.items()}
    for prefix, smallest in (("", 8), ("val", 2)):
        for points, halves in _rougher(smallest):
            curves = {arm: _thinned(found, points, halves, prefix) for arm, found in full.items()}
            if len(json.dumps(curves, separators=(",", ":"))) < limit:
                return curves
    return {}


def _rougher(smallest: int) -> list[tuple[int, bool]]:
    """Points of a curve, and whether with half widths, from fine to rough."""
    fine = (MOST_POINTS, 30, 20, 12)
    with_halves = [(points, True) for points in fine]
    return with_halves + [(points, False) for points in (*fine, 8, 5, 3, 2) if points >= smallest]


def _curves(rows: list[Row]) -> dict[tuple[int, ...], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Means and half widths of every metric that was logged more than once, by the steps."""
    found: dict[tuple[int, ...], dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for metric in dict.fromkeys(name for row in rows for name in row if name not in ("arm", "step")):
        steps, values = series(rows, metric)
        if len(steps) > 1:
            low, high = t_interval(values)
            found.setdefault(tuple(steps.tolist()), {})[metric] = values.mean(axis=1), (high - low) / 2
    return found


def _thinned(curves: Any, points: int, halves: bool, prefix: str) -> list[dict[str, Any]]:
    thin = []
    for steps, found in curves.items():
        own = {metric: pair for metric, pair in found.items() if metric.startswith(prefix)}
        kept = np.unique(np.linspace(0, len(steps) - 1, min(points, len(steps))).round().astype(int))
        group = {
            "steps": [steps[i] for i in kept],
            "mean": {m: _short(mean[kept]) for m, (mean, _) in own.items()},
        }
        if halves and all(np.isfinite(half).any() for _, half in own.values()):
            group["half"] = {m: _short(half[kept]) for m, (_, half) in own.items()}
        thin += [group] if own else []
    return thin


def _short(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values]


def completed(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The published results with what only all of them together say.

    The verdicts of a result are qualified by its `:long` run and by the edges that its tuning touched (`edges`), and
    its headlines get `p_bh`, adjusted over the headlines of all papers. Doing it again changes nothing.

    Args:
      results: from `load_results`.
    """
    finished = {}
    for name, result in results.items():
        long = results.get(f"{name}-long")
        if result["claims"] and result["variant"] not in APART:
            claims = qualified(
                result["claims"],
                long=long and long["claims"],
                runners_up=(long or {}).get("runners_up"),
                edges=result.get("edges", ()),
            )
            result = {**result, "claims": claims}
        finished[name] = result
    headlines = [
        claim
        for result in finished.values()
        for claim in result["claims"]
        if claim["kind"] == "headline" and claim["p"] is not None and result["variant"] not in APART
    ]
    headlines = [claim for claim in headlines if claim["verdict"] not in ("none", "withdrawn")]
    for claim, adjusted in zip(headlines, benjamini_hochberg(np.array([claim["p"] for claim in headlines]))):
        claim["p_bh"] = float(adjusted)
    return finished
