"""Claims: sentences about arms that a run decides, written down before it."""

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from jaxlab.core.check import InputError

KINDS = ("headline", "secondary", "ablation", "premise", "room", "benchmark")
COUNTING = ("headline", "secondary")
GATES = ("premise", "room")
RELATIONS = ("greater", "not_worse", "equivalent")
RULES = ("seeds", "percentile")
MOST_THAT_COUNT = 4

Term = tuple[str | float, str, float]

_SLUG = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.+=/")


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement that a run decides, by the effect: `arm` minus `versus` on `metric`, paired by seed.

    An arm is named as in the experiment, a stage of `prepare` by its own name, an arm of another task "task/arm"; in
    the place of an arm stands a number for what is the same on every seed, such as chance.

    Attributes:
      name: short and unique in its config, for `needs` and for texts: letters, digits, "_-.+=".
      text: the claim in words, e.g. "pld beats kd".
      metric: a metric of the final evaluation, e.g. "test/accuracy".
      arm, versus: what is compared.
      kind: "headline" (one or two a paper, its own words) and "secondary" count; "ablation" does not; "premise" and
        "room" are gates, decided first; "benchmark" rows ask which of many is best.
      relation: "greater", "not_worse" (at most `sesoi` behind) or "equivalent" (within `sesoi`).
      lower_is_better: turns the sign of the effect, for losses and errors.
      sesoi: the smallest effect of interest, above 0: a number in the metric's unit, or a share such as "5 %" of
        `ceiling` minus `floor`.
      floor, ceiling: arms or numbers, for a share.
      source: where the paper says it: "abstract", "table 3".
      needs: names of premise and room claims; if one fails, this claim is not tested.
      terms: `((arm, metric, weight), ...)` in the place of metric, arm and versus: the effect is the weighted sum.
      rule: "seeds": Student's t over seeds; "percentile": the values are bootstrap replicates of one real data set.
    """

    name: str
    text: str
    metric: str = ""
    arm: str | float = ""
    versus: str | float = ""
    kind: str = "headline"
    relation: str = "greater"
    lower_is_better: bool = False
    sesoi: float | str = 0.01
    floor: str | float | None = None
    ceiling: str | float | None = None
    source: str = ""
    needs: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    rule: str = "seeds"

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs", tuple(self.needs))
        object.__setattr__(self, "terms", tuple(map(tuple, self.terms)))
        if not self.name or not set(self.name) <= _SLUG:
            raise InputError(f"claim name {self.name!r}: use letters, digits, '_', '-', '.', '+', '='")
        for field, allowed in (("kind", KINDS), ("relation", RELATIONS), ("rule", RULES)):
            value = getattr(self, field)
            if value not in allowed:
                raise self._wrong(f"{field} is {value!r}, it must be one of {', '.join(allowed)}")
        self._check_terms()
        self._check_sesoi()
        if self.needs and self.kind in GATES:
            raise self._wrong(f"a {self.kind} claim is decided first: it needs nothing")
        if self.name in self.needs:
            raise self._wrong("it needs itself")

    def _check_terms(self) -> None:
        if bool(self.terms) == any(value != "" for value in (self.metric, self.arm, self.versus)):
            raise self._wrong("give either terms or all of metric, arm and versus")
        for term in self.sides:
            if len(term) != 3:
                raise self._wrong(f"a term is {term!r}, it must be (arm, metric, weight)")
            side, metric, weight = term
            if isinstance(side, str) and not (side and metric):
                raise self._wrong("give either terms or all of metric, arm and versus")
            if not math.isfinite(weight) or weight == 0:
                raise self._wrong(f"the weight of {side!r} is {weight}, it must be finite and not 0")
        if not any(isinstance(side, str) for side, _, _ in self.sides):
            raise self._wrong("it speaks of no arm")

    def _check_sesoi(self) -> None:
        try:
            value = self.share if isinstance(self.sesoi, str) else float(self.sesoi)
        except (TypeError, ValueError):
            value = math.nan
        if not 0 < value < math.inf or (isinstance(self.sesoi, str) and self.sesoi[-1] != "%"):
            raise self._wrong(
                f"sesoi is {self.sesoi!r}, it must be a number above 0 or a share such as '5 %'"
            )
        if self.share and (self.floor is None or self.ceiling is None):
            raise self._wrong(f"sesoi is {self.sesoi!r}: a share needs a floor and a ceiling")

    def _wrong(self, what: str) -> InputError:
        return InputError(f"claim {self.text!r}: {what}")

    @property
    def sides(self) -> tuple[Term, ...]:
        """The terms, also of a claim that has an arm and a versus."""
        if self.terms:
            return self.terms
        return ((self.arm, self.metric, 1.0), (self.versus, self.metric, -1.0))

    @property
    def unit(self) -> str:
        """The metric in whose unit the effect is: that of the first arm."""
        return next(metric for side, metric, _ in self.sides if isinstance(side, str))

    @property
    def measured(self) -> tuple[tuple[str, str], ...]:
        """Every (arm, metric) that it takes to decide the claim, each once."""
        bounds = [(side, self.unit) for side in (self.floor, self.ceiling)] if self.share else []
        pairs = [(side, metric) for side, metric, _ in self.sides] + bounds
        return tuple(dict.fromkeys((side, metric) for side, metric in pairs if isinstance(side, str)))

    @property
    def share(self) -> float | None:
        """The sesoi as a share of ceiling minus floor, or None when it is a number."""
        return float(self.sesoi.rstrip("%")) / 100 if isinstance(self.sesoi, str) else None

    def within(self, task: str) -> "Claim":
        """The claim as it is called in a run of several tasks: its arms, gates, name and text with the task's name.

        Args:
          task: name of the task; "" changes nothing. A claim that names the task of all its arms is about the
            whole run and stays as it is.
        """
        if not task or all("/" in side for side, _ in self.measured):
            return self
        called = lambda side: f"{task}/{side}" if isinstance(side, str) and side and "/" not in side else side
        return dataclasses.replace(
            self,
            name=f"{task}/{self.name}",
            text=f"{task}: {self.text}",
            arm=called(self.arm),
            versus=called(self.versus),
            floor=called(self.floor),
            ceiling=called(self.ceiling),
            needs=tuple(map(called, self.needs)),
            terms=tuple((called(side), metric, weight) for side, metric, weight in self.terms),
        )


def of_run(claims: Mapping[str, Sequence[Claim]]) -> tuple[Claim, ...]:
    """The claims of a run of several tasks under the names they have there, each once.

    Args:
      claims: by task; a single experiment is `{"": claims}`.
    """
    return tuple(dict.fromkeys(claim.within(task) for task, own in claims.items() for claim in own))


def check_claims(
    claims: Iterable[Claim],
    metrics_of_arm: Mapping[str, Collection[str] | None],
    *,
    paper: bool = False,
) -> None:
    """Refuse claims that a run could not decide.

    Args:
      claims: of an experiment, or of a whole run (see `of_run`).
      metrics_of_arm: what the final evaluation gives for every arm and stage, None where that is not known yet. Arms
        called "task/arm" are checked only where these are called so, too.
      paper: the claims are those of a paper: one headline at least, and at most four claims that count.

    Raises:
      ValueError: one line: a name twice, an arm, metric or needed claim that is not there, too many claims.
    """
    claims = tuple(claims)
    names = [claim.name for claim in claims]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two claims are called {twice[0]!r}: every claim needs a name of its own")
    whole_run = any("/" in arm for arm in metrics_of_arm)
    for claim in claims:
        for arm, metric in claim.measured:
            if whole_run or "/" not in arm:
                _check_measured(claim, arm, metric, metrics_of_arm)
        for need in claim.needs:
            _check_need(claim, need, claims)
    if paper:
        _check_paper(claims)


def _check_measured(
    claim: Claim, arm: str, metric: str, metrics_of_arm: Mapping[str, Collection[str] | None]
) -> None:
    if arm not in metrics_of_arm:
        raise InputError(f"claim {claim.text!r} speaks of {arm!r}: the arms are {', '.join(metrics_of_arm)}")
    known = metrics_of_arm[arm]
    if known is not None and metric not in known:
        raise InputError(f"claim {claim.text!r}: {arm} has no metric {metric!r}, it has {', '.join(known)}")


def _check_need(claim: Claim, need: str, claims: Sequence[Claim]) -> None:
    gates = [other.name for other in claims if other.kind in GATES]
    if need not in gates and not ("/" in need and not any("/" in name for name in gates)):
        known = (
            f"the premise and room claims are {', '.join(gates)}"
            if gates
            else "there is no premise or room claim"
        )
        raise InputError(f"claim {claim.text!r} needs {need!r}: {known}")


def _check_paper(claims: Sequence[Claim]) -> None:
    """A claim that is made on each of several tasks counts once."""
    counting = {claim.name.rpartition("/")[2]: claim.kind for claim in claims if claim.kind in COUNTING}
    if "headline" not in counting.values():
        raise InputError("a paper needs at least one claim of kind 'headline'")
    if len(counting) > MOST_THAT_COUNT:
        raise InputError(
            f"{len(counting)} claims are of kind headline or secondary: a paper has at most {MOST_THAT_COUNT}, "
            "the others are ablations or benchmark rows"
        )


def described(claim: Claim) -> dict[str, Any]:
    """What the claim says, as plain values for a result; what is not said is left out.

    Args:
      claim: any.
    """
    said = {field.name: getattr(claim, field.name) for field in dataclasses.fields(claim)}
    said["metric"] = claim.unit
    always = ("name", "text", "kind", "relation", "rule")
    unsaid = lambda value: (
        value is False or value in (None, "", ())
    )  # 0 is a number that one may compare with
    return {key: value for key, value in said.items() if key in always or not unsaid(value)}
