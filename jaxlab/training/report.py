"""Results as people read them: the report of a run, the tables over all papers, effects over a condition."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxlab import metrics
from jaxlab.core.check import InputError
from jaxlab.training.claims import GATES
from jaxlab.training.verdicts import by_holm

FEWEST_TASKS = 3  # from so many on, a comparison is also summed up over tasks


def markdown(result: Mapping[str, Any]) -> str:
    """The report of a run: what was compared, every arm's numbers, every claim's verdict.

    Args:
      result: the content of a result.json.
    """
    head = f"# {result['config']}" + ("" if result["variant"] == "default" else f" ({result['variant']})")
    scale = f"{result['scale']}. " if result.get("scale") else ""
    resampled = any(claim.get("rule") == "percentile" for claim in result["claims"])
    seeds, how = (
        ("resamples of the data", "Means over resamples; claims are decided by percentiles.")
        if resampled
        else ("seeds", "Means over seeds with 95 % t intervals; claims are decided by paired differences.")
    )
    lines = [
        head,
        "",
        f"{scale}{len(result['seeds'])} {seeds}, {result['device']}, {result['wall_s']:.0f} s. {how}",
        "",
        *_arms_table(result["arms"], _decisive(result), halves=not resampled),
        "",
    ]
    for kinds in (("premise", "room"), ("headline", "secondary", "ablation", "benchmark")):
        if own := [claim for claim in result["claims"] if claim["kind"] in kinds]:
            lines += [*_claims_table(own), ""]
    if "map" in result:
        for claim in mapped(result):
            lines += [f"{claim}:", "", map_table(result, claim), ""]
    elif across := across_tasks(result):
        lines += [*table(across), ""]
    lines += [
        f"- {line}"
        for line in (
            *_others(result),
            *result.get("remarks", ()),
            *result.get("limits", ()),
            *map(_earlier_look, result.get("earlier_looks", ())),
        )
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _decisive(result: Mapping[str, Any]) -> list[str]:
    """The metrics that claims are about; where there are no claims, all."""
    named = [
        metric
        for claim in result["claims"]
        for metric in (claim["metric"], *(term[1] for term in claim.get("terms", ())))
    ]
    known = [name for arm in result["arms"].values() for name in arm["metrics"]]
    return list(dict.fromkeys(name for name in named if name in known)) or list(dict.fromkeys(known))


def _others(result: Mapping[str, Any]) -> list[str]:
    """One line about the metrics that the table leaves out."""
    known = dict.fromkeys(name for arm in result["arms"].values() for name in arm["metrics"])
    left = [name for name in known if name not in _decisive(result)]
    return [f"result.json also has {', '.join(left)}."] if left else []


def _arms_table(arms: Mapping[str, Any], names: Sequence[str], *, halves: bool) -> list[str]:
    """Means and, with `halves`, half the width of their t intervals, which resamples do not have."""
    rows = [["arm", "steps", *names]]
    for arm, facts in arms.items():
        cells = [_mean_and_half(facts["metrics"].get(name), halves) for name in names]
        stopped = facts.get("diverged")
        note = (
            f"{facts['steps']} (diverged: {stopped['metric']}, seed {stopped['seed']})"
            if stopped
            else facts["steps"]
        )
        rows.append([arm, str(note), *cells])
    return table(rows)


def _mean_and_half(values: Sequence[float] | None, halves: bool) -> str:
    if not values or any(v is None for v in values):
        return "–"
    low, high = metrics.t_interval(np.asarray(values))
    mean = float(np.mean(values))
    return f"{mean:.4f} ± {(high - low) / 2:.4f}" if halves and np.isfinite(low) else f"{mean:.4f}"


def _claims_table(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        ["claim", "kind", "metric", "effect", "interval", "relation", "better on", "detectable", "verdict"]
    ]
    for claim in claims:
        rows.append(
            [
                claim["text"],
                claim["kind"],
                claim["metric"],
                _number(claim["effect"]),
                _deciding(claim),
                _relation(claim),
                "–" if claim["p_improvement"] is None else f"{100 * claim['p_improvement']:.0f} %",
                "–" if claim["detectable"] is None else f"{claim['detectable']:.2g}",
                verdict(claim),
            ]
        )
    return table(rows)


def _number(value: float | None, places: int = 4) -> str:
    return "–" if value is None else f"{value:+.{places}f}"


def _span(interval: Sequence[float | None] | None, places: int = 4) -> str:
    if interval is None or any(end is None or not np.isfinite(end) for end in interval):
        return "–"
    return f"[{interval[0]:+.{places}f}, {interval[1]:+.{places}f}]"


def _deciding(claim: Mapping[str, Any]) -> str:
    """The interval that decided, marked where it is not the 95 % one."""
    if by_holm(claim["kind"]) and claim["ci_holm"]:
        return f"{_span(claim['ci_holm'])} Holm"
    return _span(claim["ci95"])


def _relation(claim: Mapping[str, Any]) -> str:
    words = {"greater": "greater by", "not_worse": "not worse by", "equivalent": "within"}
    sesoi = claim.get("sesoi_as") if claim["sesoi"] is None else f"{claim['sesoi']:.3g}"
    return f"{words[claim['relation']]} {sesoi}"


def verdict(claim: Mapping[str, Any]) -> str:
    """The verdict as one reads it: with the reasons why there is none, or why it may not stand.

    Args:
      claim: a decided claim of a result.
    """
    words = claim["verdict"]
    if claim["kind"] in GATES and words not in ("none", "withdrawn"):
        words = "passed" if words == "supported" else f"failed ({words})"
    if claim["fragile"]:
        return f"{words}, fragile: {'; '.join(claim['fragile'])}"
    return f"{words}: {claim['why']}" if claim.get("why") else words


def _earlier_look(look: Mapping[str, Any]) -> str:
    found = ", ".join(f"{name} {_number(effect)} {word}" for name, (effect, word) in look["claims"].items())
    seeds = f"seeds {min(look['seeds'])} to {max(look['seeds'])}"
    return f"Looked at before, {seeds} at {str(look['commit'])[:7]}: {found or 'no claims'}."


def across_tasks(result: Mapping[str, Any]) -> list[list[str]]:
    """Comparisons that span three tasks or more, summed up: rows of a table, the first its head; or none.

    The probability that a run of the arm beats one of the versus on a task drawn at random, and the interquartile mean
    of the paired effects over seeds and tasks, both with stratified bootstrap intervals.

    Args:
      result: the content of a result.json.
    """
    rows = [["over tasks", "tasks", "probability of improvement", "interquartile mean of effects"]]
    for text, pairs in _comparisons(result).items():
        if len(pairs) < FEWEST_TASKS:
            continue
        one, other = (np.stack(side, axis=1) for side in zip(*pairs))
        better = metrics.probability_of_improvement(one, other)
        middle = metrics.interquartile_mean(one - other)
        rows.append(
            [
                text,
                str(len(pairs)),
                f"{better:.2f} {_bounds(metrics.probability_of_improvement, one, other)}",
                f"{middle:+.4f} {_bounds(metrics.interquartile_mean, one - other)}",
            ]
        )
    return rows if len(rows) > 1 else []


def _bounds(statistic: Any, *scores: np.ndarray) -> str:
    low, high = metrics.stratified_bootstrap(statistic, *scores)
    return f"[{low:.4g}, {high:.4g}]"


def _comparisons(result: Mapping[str, Any]) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """By text without the task's name, for each task the metrics of arm and versus, higher is better."""
    scores = {
        name: facts["metrics"] for part in ("prepare", "arms") for name, facts in result.get(part, {}).items()
    }
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for claim in result["claims"]:
        task, slash, _ = claim["name"].rpartition("/")
        sides = [scores.get(claim.get(side), {}).get(claim["metric"]) for side in ("arm", "versus")]
        if not slash or any(values is None or None in values for values in sides):
            continue
        sign = -1.0 if claim.get("lower_is_better") else 1.0
        pair = tuple(sign * np.asarray(values, float) for values in sides)
        found.setdefault(claim["text"].removeprefix(f"{task}: "), []).append(pair)
    return found


def over_tasks(result: Mapping[str, Any]) -> tuple[str, dict[str, np.ndarray]]:
    """The scores whose profiles a run of three tasks or more can draw: a metric, and `[S, M]` for every arm.

    The metric is that of the first claim in whose unit higher is better; an arm is there if every task has it.

    Args:
      result: the content of a result.json.

    Returns:
      (metric, scores by arm); no scores when there are fewer tasks or no such claim.
    """
    tasks = list(dict.fromkeys(name.rpartition("/")[0] for name in result["arms"]))
    metric = next((claim["metric"] for claim in result["claims"] if not claim.get("lower_is_better")), "")
    scores = {}
    for arm in dict.fromkeys(name.rpartition("/")[2] for name in result["arms"]):
        own = [result["arms"].get(f"{task}/{arm}", {}).get("metrics", {}).get(metric) for task in tasks]
        if len(tasks) >= FEWEST_TASKS and not any(values is None or None in values for values in own):
            scores[arm] = np.stack([np.asarray(values, float) for values in own], axis=1)
    return metric, scores


def table(rows: list[list[str]], *, aligned: bool = True) -> list[str]:
    """The lines of a Markdown table.

    Args:
      rows: cells; the first row is the head.
      aligned: whether columns are, for people who read it as it is; else it has no more characters than it needs.
    """
    widths = [max(len(row[i]) for row in rows) if aligned else 0 for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * max(width + 2, 3) for width in widths) + "|", *lines[1:]]


def summary_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The README's table, a row a paper: its first headline, the verdicts of all of them, and a link to its page.

    Of the scale only the kind is shown ("toy", "small, real"); the page says of what.

    Args:
      results: from `publish.load_results`.
    """
    rows = [["paper", "scale", "headline", "effect", "95 % interval", "verdict", "minutes"]]
    for name, result in results.items():
        paper = name.rpartition("/")[2] + (" †" if result.get("code") == "unknown" else "")
        scale, minutes = result.get("scale", "").partition(" (")[0], f"{result['wall_s'] / 60:.1f}"
        headlines = [claim for claim in result["claims"] if claim["kind"] == "headline"]
        if headlines:
            words = [_verdict(claim) for claim in headlines]
            first = headlines[0]
            found = [first["text"], _number(first["effect"], 3), _span(first["ci95"], 3), "; ".join(words)]
            rows.append([f"[{paper}](results/{name}.md)", scale, *found, minutes])
    return "\n".join(table(rows, aligned=False))


def published_claims_table(result: Mapping[str, Any]) -> str:
    """Every claim of a published result, a star at the headlines that pass Benjamini and Hochberg.

    Where the result replaces another one, the last column has what was said of the same claim before.

    Args:
      result: of `publish.load_results`, `publish.completed`.
    """
    looks = result.get("earlier_looks", ())
    before = looks[-1]["claims"] if looks else {}
    rows = [["claim", "kind", "effect", "interval", "seeds", "verdict", *(["before"] if before else [])]]
    for claim in result["claims"]:
        star = " *" if claim["p_bh"] is not None and claim["p_bh"] < 0.05 else ""
        earlier = before.get(claim["name"])
        said = [f"{_number(earlier[0])} {earlier[1]}" if earlier else "–"] if before else []
        rows.append(
            [claim["text"], claim["kind"] + star, _number(claim["effect"]), _deciding(claim), str(claim["n_seeds"]),
             verdict(claim), *said]
        )  # fmt: skip
    return "\n".join(table(rows))


def map_points(result: Mapping[str, Any], claim: str) -> list[dict[str, Any]]:
    """Where a claim holds: its effect at every point of a `:map` run, in the order of the condition.

    Args:
      result: of a run whose tasks are the points: `result["map"]` is `{"condition": "share of wrong labels", "values":
        {task: value}}`.
      claim: its name without the task.

    Returns:
      One dict a point: `value`, `effect`, `ci95`, `verdict`.
    """
    values = result["map"]["values"]
    found = {one["name"]: one for one in result["claims"]}
    points = [{"value": value, **found[f"{task}/{claim}"]} for task, value in values.items()]
    kept = ("value", "effect", "ci95", "verdict")
    return [{key: point[key] for key in kept} for point in sorted(points, key=lambda point: point["value"])]


def mapped(result: Mapping[str, Any]) -> list[str]:
    """The claims of a `:map` run that count, by their names without the task.

    Args:
      result: as for `map_points`.
    """
    counting = [claim["name"] for claim in result["claims"] if claim["kind"] in ("headline", "secondary")]
    return list(dict.fromkeys(name.rpartition("/")[2] for name in counting))


def map_table(result: Mapping[str, Any], claim: str) -> str:
    """The points of `map_points` as a table.

    Args:
      result, claim: as there.
    """
    rows = [[result["map"]["condition"], "effect", "95 % interval", "verdict"]]
    rows += [
        [f"{point['value']:g}", _number(point["effect"]), _span(point["ci95"]), point["verdict"]]
        for point in map_points(result, claim)
    ]
    return "\n".join(table(rows))


def filled(text: str, result: Mapping[str, Any]) -> str:
    """A text written by people with its numbers put in, so that they cannot drift from the result.

    `{claim:NAME}` becomes effect, the interval that decides, verdict and "fragile" where it is, of a withdrawn one
    the word alone; `{claim:NAME:KEY}` is one
    number or word of the claim, `{claim:NAME:long}` effect, interval and verdict at four times the steps, and
    `{arm:NAME:METRIC}` the mean over seeds. A number that is missing, as those of an arm that diverged, is a dash.

    Args:
      text: with placeholders.
      result: the content of a result.json.

    Raises:
      ValueError: a placeholder that names nothing in the result.
    """
    return re.sub(r"\{(claim|arm):([^{}:]+)(?::([^{}:]+))?\}", lambda match: _value(match, result), text)


def _value(match: re.Match, result: Mapping[str, Any]) -> str:
    what, name, key = match.groups()
    try:
        if what == "arm":
            return _mean({**result["prepare"], **result["arms"]}[name], key)
        claim = next(claim for claim in result["claims"] if claim["name"] == name)
        if key is None:
            return _said(claim)
        if key == "verdict":
            return _verdict(claim)
        value = _said(_at_length(claim[key])) if key == "long" else claim[key]
        return value if isinstance(value, str) else "–" if value is None else f"{value:.3g}"
    except (KeyError, StopIteration, TypeError):
        raise InputError(f"{match.group()} names nothing in the result of {result['config']}") from None


def _at_length(long: Mapping[str, Any]) -> dict[str, Any]:
    """What a long run says by itself; that it has not settled either is no reason to be silent."""
    return {**long, "verdict": "not tested" if long.get("failed_gates") else long["by_interval"]}


def _mean(arm: Mapping[str, Any], metric: str) -> str:
    values = [None] if "diverged" in arm else arm["metrics"][metric]
    return "–" if None in values else f"{np.mean(values):.3f}"


def _said(claim: Mapping[str, Any]) -> str:
    if claim["verdict"] == "withdrawn" or claim["effect"] is None:
        return claim["verdict"]
    holm = by_holm(claim.get("kind", "")) and claim.get("ci_holm")  # what decides it, as in the table
    low, high = holm or claim["ci95"] or (None, None)
    span = "" if low is None else f" [{low:+.3f}, {high:+.3f}]"
    return f"{claim['effect']:+.3f}{span}, {_verdict(claim)}"


def _verdict(claim: Mapping[str, Any]) -> str:
    return claim["verdict"] + (", fragile" if claim.get("fragile") else "")
