"""From numbers to statements: claims decided over seeds, the result file, and a table for people.

One rule for every claim: the difference is arm minus versus (the sign turned where lower is better), paired by seed;
its 95 % Student t interval decides. The bootstrap interval is shown beside it and decides nothing.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special

from jaxlab.training.experiment import Claim

Scores = Mapping[str, np.ndarray]

VERDICTS = ("reproduced", "contradicted", "inconclusive")


def t_interval(values: np.ndarray, *, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval for the mean.

    Args:
      values: `[S]`, one number per seed.
      confidence: coverage, in (0, 1).

    Returns:
      (low, high); of a single value, (-inf, inf).

    Example:
      >>> low, high = t_interval(np.array([1.0, 2.0, 3.0]))
      >>> round(low, 4), round(high, 4)
      (-0.4841, 4.4841)
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return -np.inf, np.inf
    quantile = scipy.special.stdtrit(len(values) - 1, 0.5 + confidence / 2)
    half = quantile * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def bootstrap_interval(
    values: np.ndarray, *, confidence: float = 0.95, resamples: int = 10_000
) -> tuple[float, float]:
    """Percentile bootstrap interval for the mean, with a fixed generator: the same numbers every time.

    Args:
      values: `[S]`.
      confidence: coverage.
      resamples: how many.

    Returns:
      (low, high); of a single value, (-inf, inf).
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return -np.inf, np.inf
    # As scipy.stats.bootstrap draws them; importing scipy.stats would take a second of every start.
    rows = np.random.default_rng(0).integers(0, len(values), (resamples, len(values)))
    tails = 50 * (1 - confidence)
    low, high = np.percentile(values[rows].mean(-1), (tails, 100 - tails))
    return float(low), float(high)


def decide(claim: Claim, scores: Mapping[str, Scores]) -> dict[str, Any]:
    """Decide one claim.

    Args:
      claim: what was said beforehand.
      scores: `{arm: {metric: [S]}}`, the same seeds in the same order for every arm.

    Returns:
      A dict with `text`, `metric`, `arm`, `versus`, `difference` (mean, arm minus versus, the sign turned where
      lower is better), `ci95`, `bootstrap95`, `n`, and `verdict`: "reproduced", "contradicted" or "inconclusive".
      When an arm has no such metric (it diverged, say) the numbers are None and `why` says so.

    Example:
      >>> from jaxlab.training import Claim
      >>> scores = {"new": {"test/loss": np.array([1.0, 1.1])}, "old": {"test/loss": np.array([2.0, 2.11])}}
      >>> decide(Claim("new beats old", "test/loss", "new", "old", lower_is_better=True), scores)["verdict"]
      'reproduced'
    """
    facts = {
        "text": claim.text,
        "metric": claim.metric,
        "arm": claim.arm,
        "versus": claim.versus,
        "rule": f"within ±{claim.band:g}" if claim.band is not None else f"above {claim.margin:g}",
    }
    pair = [np.asarray(scores.get(arm, {}).get(claim.metric, []), float) for arm in (claim.arm, claim.versus)]
    for arm, values in zip((claim.arm, claim.versus), pair):
        if not len(values):
            why = f"{arm} has no {claim.metric}"
            return {**facts, "difference": None, "ci95": None, "bootstrap95": None, "n": 0,
                    "verdict": "inconclusive", "why": why}  # fmt: skip
    difference = (pair[0] - pair[1]) * (-1.0 if claim.lower_is_better else 1.0)
    interval = t_interval(difference)
    return {
        **facts,
        "difference": float(difference.mean()),
        "ci95": list(interval),
        "bootstrap95": list(bootstrap_interval(difference)),
        "n": len(difference),
        "verdict": _verdict(claim, *interval),
    }


def _verdict(claim: Claim, low: float, high: float) -> str:
    if claim.band is not None:
        if -claim.band < low and high < claim.band:
            return "reproduced"
        return "contradicted" if low > claim.band or high < -claim.band else "inconclusive"
    if low > claim.margin:
        return "reproduced"
    return "contradicted" if high < -claim.margin else "inconclusive"


def markdown(result: Mapping[str, Any]) -> str:
    """The report of a run: what was compared, every arm's numbers, every claim's verdict.

    Args:
      result: the content of a result.json.
    """
    seeds = result["seeds"]
    head = f"# {result['config']}" + ("" if result["variant"] == "default" else f" ({result['variant']})")
    lines = [
        head,
        "",
        f"{len(seeds)} seeds, {result['device']}, {result['wall_s']:.0f} s. "
        "Means over seeds with 95 % t intervals; claims are decided by paired differences.",
        "",
        *_arms_table(result["arms"]),
        "",
    ]
    if result["claims"]:
        lines += [*_claims_table(result["claims"]), ""]
    return "\n".join(lines)


def _arms_table(arms: Mapping[str, Any]) -> list[str]:
    names = [name for name in dict.fromkeys(m for arm in arms.values() for m in arm["metrics"])]
    rows = [["arm", "steps", *names]]
    for arm, facts in arms.items():
        cells = [_mean_and_half(facts["metrics"].get(name)) for name in names]
        stopped = facts.get("diverged")
        note = (
            f"{facts['steps']} (diverged: {stopped['metric']}, seed {stopped['seed']})"
            if stopped
            else facts["steps"]
        )
        rows.append([arm, str(note), *cells])
    return table(rows)


def _mean_and_half(values: Sequence[float] | None) -> str:
    if not values or any(v is None for v in values):
        return "–"
    low, high = t_interval(np.asarray(values))
    mean = float(np.mean(values))
    return f"{mean:.4f}" if not np.isfinite(low) else f"{mean:.4f} ± {(high - low) / 2:.4f}"


def _claims_table(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [["claim", "metric", "difference", "95 % interval", "bootstrap", "rule", "verdict"]]
    for claim in claims:
        if claim["difference"] is None:
            rows.append(
                [
                    claim["text"],
                    claim["metric"],
                    "–",
                    "–",
                    "–",
                    claim["rule"],
                    f"inconclusive: {claim['why']}",
                ]
            )
            continue
        rows.append(
            [
                claim["text"],
                claim["metric"],
                f"{claim['difference']:+.4f}",
                _span(claim["ci95"]),
                _span(claim["bootstrap95"]),
                claim["rule"],
                claim["verdict"],
            ]
        )
    return table(rows)


def _span(interval: Sequence[float | None]) -> str:
    if any(end is None or not np.isfinite(end) for end in interval):
        return "one seed: none"
    return f"[{interval[0]:+.4f}, {interval[1]:+.4f}]"


def table(rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table, its columns aligned.

    Args:
      rows: cells; the first row is the head.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def load_results(directory: str | pathlib.Path) -> dict[str, dict[str, Any]]:
    """Every published result below a folder, by name such as "distillation/pld".

    Args:
      directory: the repository's `results`.
    """
    directory = pathlib.Path(directory)
    found = sorted(directory.glob("*/*.json"))
    return {f"{path.parent.name}/{path.stem}": json.loads(path.read_text()) for path in found}


def summary_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The README's table: one row per claim of every published result.

    Args:
      results: from `load_results`.
    """
    rows = [["paper", "claim", "difference", "95 % interval", "seeds", "verdict"]]
    for name, result in results.items():
        for claim in result["claims"]:
            difference = "–" if claim["difference"] is None else f"{claim['difference']:+.4f}"
            span = "–" if claim["ci95"] is None else _span(claim["ci95"])
            rows.append([f"`{name}`", claim["text"], difference, span, str(claim["n"]), claim["verdict"]])
    return "\n".join(table(rows))
