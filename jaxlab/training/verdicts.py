"""From the numbers of every seed to verdicts: pure functions of claims and final metrics.

Gates (premise and room claims) are decided first; what needs one that failed is not tested. Headlines and gates are
decided by their 95 % interval, secondary claims and ablations by the Holm-adjusted one, all of a config together with
its headlines, benchmark rows by the Holm-adjusted one among themselves.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special

from jaxlab import metrics
from jaxlab.training.claims import GATES, Claim, described

VERDICTS = ("supported", "opposite", "no effect", "undecided", "not tested", "none", "withdrawn")
DECIDED = ("supported", "opposite", "no effect")
FEWEST_SEEDS = 5
FEWEST_REPLICATES = 40  # of fewer, none lies outside a 95 % interval on each side

Scores = Mapping[str, Mapping[str, Any]]
Resplit = tuple[int, int]

_ALPHA = 0.05
_POWER = 0.8
# The kinds whose Holm-adjusted intervals are computed together.
_FAMILIES = (("headline", "secondary", "ablation"), ("benchmark",))


def by_holm(kind: str) -> bool:
    """Whether claims of a kind are decided by their Holm-adjusted interval, and not by the 95 % one.

    Args:
      kind: of a claim.
    """
    return kind in ("secondary", "ablation", "benchmark")


def table_verdict(
    relation: str, effect: np.ndarray, low: np.ndarray, high: np.ndarray, sesoi: np.ndarray
) -> np.ndarray:
    """What an interval says of a claim, gates aside; arrays broadcast.

    ============  =======================================  ======================================  ================
    relation      supported                                opposite                                no effect
    ============  =======================================  ======================================  ================
    greater       interval above 0, mean at least sesoi    interval below 0, mean at most -sesoi   inside +- sesoi
    not_worse     interval above -sesoi                    interval below -sesoi
    equivalent    interval inside +- sesoi                 interval outside it altogether
    ============  =======================================  ======================================  ================

    Anything else is undecided; "no effect" goes before the others.

    Args:
      relation: "greater", "not_worse" or "equivalent".
      effect: means, the sign turned where lower is better.
      low, high: ends of their intervals.
      sesoi: smallest effect of interest, above 0.

    Returns:
      Texts of the broadcast shape.
    """
    inside = (low > -sesoi) & (high < sesoi)
    if relation == "greater":
        cases = {
            "no effect": inside,
            "supported": (low > 0) & (effect >= sesoi),
            "opposite": (high < 0) & (effect <= -sesoi),
        }
    elif relation == "not_worse":
        cases = {"supported": low > -sesoi, "opposite": high < -sesoi}
    else:
        cases = {"supported": inside, "opposite": (low > sesoi) | (high < -sesoi)}
    return np.select(list(cases.values()), list(cases), "undecided")


def decide(
    claims: Iterable[Claim],
    scores: Scores,
    *,
    seeds: Sequence[int] | None = None,
    n_data: int | Mapping[str, int] = 1,
    resplit: Resplit | Mapping[str, Resplit | None] | None = None,
    no_verdict: str = "",
) -> list[dict[str, Any]]:
    """Decide claims that were made together: the gates first, then all that count.

    Args:
      claims: of one config, as they are called in the run (`claims.of_run`).
      scores: `{arm: {metric: [S]}}`, the same seeds in the same order for every arm; stages of `prepare` too.
      seeds: their names, to say which one a headline hangs on; 0 to S - 1 when None.
      n_data: how many draws of the data the seeds saw; under the rule "percentile", the size of the real data set. A
        mapping gives it by task, the part of an arm's name before "/".
      resplit: `(n_test, n_train)` when every seed has its own split of one finite set, also by task.
      no_verdict: why no claim gets a verdict (a smoke run), or "".

    Returns:
      One dict per claim, in order: what it says (`claims.described`), with `sesoi` as a number, and `resplit` if any;
      `effect` (mean), `ci95`, `ci_holm`, `p` (of the relation's null hypothesis), `p_bh` (None until results are
      published together), `detectable` (at 80 % power), `seeds_needed` (to decide at this effect and spread, with 80 %
      power), `p_improvement` (share of seeds on which the effect is positive, ties half), `iqm`, `ties`, `n_seeds`,
      `n_data`; `by_interval`, the verdict if gates are left aside, and `fragile_by_interval`, the reasons why that of
      a headline might not stand; `failed_gates`; `verdict`, and `why` where it is "none" or "not tested"; `fragile`,
      the same reasons where the verdict is decided, gates included. Numbers that cannot be had are None.

    Example:
      >>> from jaxlab.training import Claim
      >>> loss = {"new": [1.0, 1.1, 0.9, 1.0, 1.2], "old": [2.0, 2.11, 1.9, 2.1, 2.2]}
      >>> claim = Claim("new_over_old", "new beats old", "test/loss", "new", "old", lower_is_better=True)
      >>> decided = decide([claim], {arm: {"test/loss": values} for arm, values in loss.items()})
      >>> decided[0]["verdict"], round(float(decided[0]["effect"]), 3)
      ('supported', 1.022)
    """
    sample = [
        _sample(claim, scores, _of_tasks(n_data, claim, min), _of_tasks(resplit, claim, _widest))
        for claim in claims
    ]
    levels = _levels(sample)
    facts = [_facts(one, level) for one, level in zip(sample, levels)]
    gates: dict[str, str] = {}
    for one, level, found in sorted(zip(sample, levels, facts), key=lambda it: it[0].claim.kind not in GATES):
        _conclude(one, level, found, no_verdict, gates)
        if one.claim.kind in GATES:
            gates[one.claim.name] = found["verdict"]
        if one.claim.kind == "headline" and found["by_interval"] in DECIDED:
            found["fragile_by_interval"] = _fragile(one, level, found["by_interval"], seeds)
        if found["verdict"] in DECIDED:
            found["fragile"] = list(found["fragile_by_interval"])
    return facts


@dataclasses.dataclass(frozen=True)
class _Sample:
    """A claim with its effect on every seed, or the trouble that leaves it without a verdict."""

    claim: Claim
    values: np.ndarray
    sesoi: float | None
    n_data: int
    resplit: Resplit | None
    trouble: str

    def interval(self, alpha: float = _ALPHA) -> tuple[float, float]:
        if self.claim.rule == "percentile":
            return metrics.percentile_interval(self.values, confidence=1 - alpha)
        return metrics.t_interval(self.values, confidence=1 - alpha, resplit=self.resplit)

    def p_value(self, null: float, tail: str) -> float:
        if self.claim.rule == "percentile":
            return metrics.percentile_p_value(self.values, null=null, tail=tail)
        return metrics.t_p_value(self.values, null=null, tail=tail, resplit=self.resplit)

    @property
    def p(self) -> float:
        """Below alpha where the interval at alpha leaves the null hypothesis of the relation."""
        if self.claim.relation == "greater":
            return self.p_value(0.0, "both")
        if self.claim.relation == "not_worse":
            return self.p_value(-self.sesoi, "both")
        # Both one-sided tests at alpha / 2, as the interval that lies inside has two tails.
        return min(1.0, 2 * max(self.p_value(-self.sesoi, "above"), self.p_value(self.sesoi, "below")))

    def verdict(self, alpha: float = _ALPHA) -> str:
        low, high = self.interval(alpha)
        return str(table_verdict(self.claim.relation, self.values.mean(), low, high, self.sesoi))

    def without_each(self) -> np.ndarray:
        """The verdicts without the first seed, without the second, and so on."""
        count = len(self.values)
        others = self.values[np.nonzero(~np.eye(count, dtype=bool))[1].reshape(count, count - 1)]
        low, high = metrics.t_interval(others, resplit=self.resplit)
        return table_verdict(self.claim.relation, others.mean(axis=-1), low, high, self.sesoi)


def _of_tasks(option: Any, claim: Claim, join: Any) -> Any:
    """An option that may be given by task, for the tasks that a claim speaks of."""
    if not isinstance(option, Mapping):
        return option
    return join([option.get(arm.rpartition("/")[0]) for arm, _ in claim.measured])


def _widest(splits: list[Resplit | None]) -> Resplit | None:
    """Of several tasks the splits that share most."""
    given = [split for split in splits if split]
    return max(given, key=lambda split: split[0] / split[1], default=None)


def _sample(claim: Claim, scores: Scores, n_data: int, resplit: Resplit | None) -> _Sample:
    found = {(arm, metric): _numbers(scores, arm, metric) for arm, metric in claim.measured}
    nothing = lambda why: _Sample(claim, np.empty(0), None, n_data, resplit, why)
    for (arm, metric), values in found.items():
        if not len(values):
            return nothing(f"{arm} has no {metric}")
        if not np.isfinite(values).all():
            return nothing(f"{metric} of {arm} is not finite on every seed")
    if len({len(values) for values in found.values()}) > 1:
        return nothing("its arms have different numbers of seeds")
    value = lambda side, metric: found[side, metric] if isinstance(side, str) else np.float64(side)
    sign = -1.0 if claim.lower_is_better else 1.0
    values = sign * sum(weight * value(side, metric) for side, metric, weight in claim.sides)
    sesoi = claim.sesoi
    if claim.share:
        room = sign * (value(claim.ceiling, claim.unit) - value(claim.floor, claim.unit))
        sesoi = claim.share * float(np.mean(room))
        if sesoi <= 0:
            return nothing("the ceiling is not above the floor")
    largest = max(np.abs(numbers).max() for numbers in found.values())
    return _Sample(claim, values, float(sesoi), n_data, resplit, _unfit(claim, values, largest))


def _numbers(scores: Scores, arm: str, metric: str) -> np.ndarray:
    values = scores.get(arm, {}).get(metric)
    return np.asarray([] if values is None else values, float)  # None within becomes NaN


def _unfit(claim: Claim, values: np.ndarray, largest: float) -> str:
    """Why values of this number and spread cannot decide anything."""
    # Metrics are float32: what scatters by less than their rounding does not scatter.
    if len(values) > 1 and values.std(ddof=1) <= 1e-7 * largest:
        return "no spread"
    if claim.rule == "percentile":
        few = len(values) < FEWEST_REPLICATES
        return f"{len(values)} replicates, fewer than {FEWEST_REPLICATES}" if few else ""
    return f"{len(values)} seeds, fewer than {FEWEST_SEEDS}" if len(values) < FEWEST_SEEDS else ""


def _levels(sample: Sequence[_Sample]) -> list[float | None]:
    """For every claim of a family the level of its Holm-adjusted interval; None for gates and what has no verdict."""
    levels: list[float | None] = [None] * len(sample)
    for kinds in _FAMILIES:
        own = [i for i, one in enumerate(sample) if one.claim.kind in kinds and not one.trouble]
        for i, level in zip(own, metrics.holm_levels(np.array([sample[i].p for i in own]), alpha=_ALPHA)):
            levels[i] = float(level)
    return levels


def _facts(one: _Sample, level: float | None) -> dict[str, Any]:
    """What the claim says and the numbers about it, without a verdict."""
    said = described(one.claim) | {"sesoi": one.sesoi}
    if one.claim.share:
        said["sesoi_as"] = one.claim.sesoi
    if one.resplit:
        said["resplit"] = list(one.resplit)
    values, count = one.values, len(one.values)
    numbers = dict.fromkeys(
        ("effect", "ci95", "ci_holm", "p", "p_bh", "detectable", "seeds_needed", "p_improvement")
    )
    numbers |= {"iqm": None, "ties": 0, "n_seeds": count, "n_data": one.n_data}
    if not count:
        return said | numbers
    effect = float(values.mean())
    numbers |= {
        "effect": effect,
        "p_improvement": float(np.mean((values > 0) + 0.5 * (values == 0))),
        "iqm": metrics.interquartile_mean(values),
        "ties": int(np.sum(values == 0)),
    }
    if count > 1:
        numbers["ci95"] = [float(end) for end in one.interval()]
    if not one.trouble:
        numbers |= {"p": float(one.p)} | _reach(one, effect)
    if level is not None:
        numbers["ci_holm"] = [float(end) for end in one.interval(level)]
    return said | numbers


def _reach(one: _Sample, effect: float) -> dict[str, Any]:
    """The smallest effect that these seeds would find, and the seeds that would decide this effect."""
    if one.claim.rule == "percentile":
        steps = scipy.special.ndtri(1 - _ALPHA / 2) + scipy.special.ndtri(_POWER)
        return {"detectable": float(steps * one.values.std(ddof=1)), "seeds_needed": None}
    spread = float(one.values.std(ddof=1))
    options = {"power": _POWER, "confidence": 1 - _ALPHA, "resplit": one.resplit}
    needed = metrics.seeds_needed(_to_nearest_border(one, effect), spread, **options)
    return {
        "detectable": float(metrics.detectable_effect(spread, len(one.values), **options)),
        "seeds_needed": None if needed is None else max(needed, FEWEST_SEEDS),
    }


def _to_nearest_border(one: _Sample, effect: float) -> float:
    """From the effect to the border that its interval must leave behind for a verdict."""
    if one.claim.relation == "greater":
        return abs(effect) if abs(effect) >= one.sesoi else one.sesoi - abs(effect)
    if one.claim.relation == "not_worse":
        return effect + one.sesoi
    return abs(effect) - one.sesoi


def _conclude(
    one: _Sample, level: float | None, found: dict[str, Any], no_verdict: str, gates: Mapping[str, str]
) -> None:
    """Give the facts their verdict."""
    trouble = no_verdict or one.trouble
    by_interval = None
    if not trouble:
        by_interval = one.verdict(level if by_holm(one.claim.kind) else _ALPHA)
    failed = {need: gates.get(need, "absent") for need in one.claim.needs if gates.get(need) != "supported"}
    found |= {"by_interval": by_interval, "fragile_by_interval": [], "failed_gates": list(failed)}
    found |= {"verdict": by_interval, "fragile": []}
    if trouble:
        found |= {"verdict": "none", "why": trouble}
    elif failed:
        why = ", ".join(f"{need} is {verdict}" for need, verdict in failed.items())
        found |= {"verdict": "not tested", "why": why}


def _fragile(one: _Sample, level: float, verdict: str, seeds: Sequence[int] | None) -> list[str]:
    """Why a decided headline might not stand."""
    reasons = [] if one.verdict(level) == verdict else ["fails Holm"]
    if one.claim.rule == "seeds":
        names = range(len(one.values)) if seeds is None else seeds
        turning = [str(name) for name, without in zip(names, one.without_each()) if without != verdict]
        reasons += [f"turns without seed {', '.join(turning)}"] if turning else []
    return reasons


def qualified(
    claims: Sequence[Mapping[str, Any]],
    *,
    long: Sequence[Mapping[str, Any]] | None = None,
    runners_up: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    edges: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Decided claims with what other runs say of them: at four times the steps, and with other settings.

    A gate called `converged...` passes, too, when the verdict by the interval is the same in the long run and the
    claim's other gates hold there. A decided headline is fragile when it turns in the long run, or when those do not
    hold; when it turns with a setting that the search could not tell from the winner, judged by the mean alone, as such
    runs have few seeds; or where a winner sits at an edge of its grid that could be widened. Calling it
    again replaces what was said before.

    Args:
      claims: from `decide`.
      long: the same claims after four times the steps; None when there is no such run.
      runners_up: the same claims by what was changed, such as "kd: temperature 8".
      edges: where winners sit, such as "kd: learning_rate"; a claim is touched by those of its own arms.

    Returns:
      New dicts, with `long` where there is such a run.
    """
    of = lambda others, name: next((other for other in others or () if other["name"] == name), None)
    finished = []
    for claim in map(dict, claims):
        if long is not None:
            claim["long"] = _brief(of(long, claim["name"]))
        if claim["verdict"] in ("supported", "opposite", "no effect", "undecided", "not tested"):
            _requalify(claim)
        if claim["kind"] == "headline":
            others = {change: of(found, claim["name"]) for change, found in (runners_up or {}).items()}
            own_edges = [edge for edge in edges if edge.partition(":")[0] in _arms_of(claim)]
            later = _turns(claim, others) + [f"winner at the edge of {edge}" for edge in own_edges]
            claim["fragile"] = claim["fragile_by_interval"] + later if claim["verdict"] in DECIDED else []
        finished.append(claim)
    return finished


def _arms_of(claim: Mapping[str, Any]) -> set[str]:
    """The arms that a claim speaks of, without their task."""
    arms = [claim.get("arm"), claim.get("versus"), *(term[0] for term in claim.get("terms") or ())]
    return {arm.rpartition("/")[2] for arm in arms if isinstance(arm, str)}


def _brief(claim: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if claim is None:
        return None
    kept = {key: claim[key] for key in ("effect", "ci95", "by_interval", "n_seeds")}
    return kept | {"failed_gates": [gate for gate in claim["failed_gates"] if not _of_convergence(gate)]}


def _of_convergence(gate: str) -> bool:
    return gate.rpartition("/")[2].startswith("converged")


def _same(claim: Mapping[str, Any]) -> bool:
    """Whether the long run says the same, on premises that hold there too."""
    long = claim.get("long")
    return bool(long) and long["by_interval"] == claim["by_interval"] and not long["failed_gates"]


def _requalify(claim: dict[str, Any]) -> None:
    """The verdict again, now that a long run may stand in for a gate of convergence."""
    stands_in = lambda gate: _of_convergence(gate) and _same(claim)
    failed = [gate for gate in claim["failed_gates"] if not stands_in(gate)]
    claim["verdict"] = "not tested" if failed else claim["by_interval"]
    if not failed:
        claim.pop("why", None)


def _turns(claim: Mapping[str, Any], others: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    long, reasons = claim.get("long"), []
    if long and long["by_interval"] != claim["by_interval"]:
        reasons = ["turns at more steps"]
    elif long and long["failed_gates"]:
        reasons = [f"at more steps {', '.join(long['failed_gates'])} does not hold"]
    found = {
        change: other["effect"] for change, other in others.items() if other and other["effect"] is not None
    }
    by_mean = lambda mean: str(table_verdict(claim["relation"], mean, mean, mean, claim["sesoi"]))
    return reasons + [
        f"turns with {change}" for change, mean in found.items() if by_mean(mean) != claim["by_interval"]
    ]
