"""What is wrong with a run, as far as the metrics of its steps show it, and what helps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxlab.core.check import InputError

Row = Mapping[str, Any]
MOST_FINDINGS = 3


class Finding(NamedTuple):
    """A problem of a policy's training.

    Attributes:
      illness: a short name.
      step: where it shows first.
      text: what was seen.
      remedy: what helps.
    """

    illness: str
    step: int
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.text}. {self.remedy}."


class _Curves:
    """Metrics over steps, means over seeds, smoothed over three rows; "train/reward" of the engine is "reward"."""

    def __init__(self, rows: Sequence[Row]):
        own = [{name.removeprefix("train/"): value for name, value in row.items()} for row in rows]
        self._rows = sorted(own, key=lambda row: row["step"])

    def __call__(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and smoothed values of the rows that have the metric."""
        own = [(row["step"], row[name]) for row in self._rows if name in row]
        values = np.array([np.nan if x is None else np.mean(x) for _, x in own], float)
        smooth = np.array([np.mean(values[max(i - 2, 0) : i + 1]) for i in range(len(values))])
        return np.array([step for step, _ in own], int), smooth

    def first(self, name: str, ill: Callable[[np.ndarray], np.ndarray]) -> tuple[int, float] | None:
        """The first step, and the value there, from which a metric is ill for three rows in a row, or to the end."""
        steps, values = self(name)
        found = ill(values) if len(values) else np.zeros(0, bool)
        lasting = [i for i in range(len(found)) if found[i : i + 3].all() and (i + 3 <= len(found) or i > 0)]
        return (int(steps[lasting[0]]), float(values[lasting[0]])) if lasting else None


def diagnose(rows: Sequence[Row], *, held_out: str = "val/accuracy") -> list[Finding]:
    """The problems of a run of a learner of this room, the worst first, at most three findings.

    From what `rlvr_learner` and `text_rlvr_learner` log: rewards, groups that teach nothing, entropy, clipped and
    truncated shares, lengths, the norm of the gradient, a teacher's divergence; and a held-out score, where the rows
    have one. A rule whose metrics are absent is silent; a NaN
    is a metric that could not be had. The bounds are such that training that goes well has no
    findings; what they leave unseen may be ill too.

    Args:
      rows: one for each log step, with `step`, and metrics as numbers or one number per seed, in any order; named as a
        learner names them or as the engine logs them, "reward" or "train/reward".
      held_out: the metric by which a reward is believed.

    Returns:
      The findings.

    Raises:
      ValueError: a row without a step.

    Reference: what practitioners watch: DAPO, 2025, section 4.2 (length, reward, entropy); Cui et al., The Entropy
      Mechanism of Reinforcement Learning for Reasoning Language Models, 2025.

    >>> rows = [{"step": s, "reward": 0.0, "groups_failed": 1.0, "groups_solved": 0.0} for s in (10, 20, 30)]
    >>> [finding.illness for finding in diagnose(rows)]
    ['no signal']
    """
    for row in rows:
        if "step" not in row:
            raise InputError(f"a row has no step: {sorted(row)}")
    curves = _Curves(rows)
    found = [finding for rule in RULES if (finding := rule(curves, held_out))]
    return found[:MOST_FINDINGS]


def _wrong_teacher(curves: _Curves, held_out: str) -> Finding | None:
    """A divergence that is negative, or large from the first, is not one from a policy that speaks this language."""
    _, values = curves("teacher_kl")
    strange = len(values) and bool((values[:3] > 1.5).all())
    if ill := curves.first("teacher_kl", lambda x: (x < -0.05) | ((x > 1.5) & strange)):
        return Finding(
            "dead teacher", ill[0], f"the teacher is {ill[1]:.2g} nats a token away from what it should know",
            "Check its weights, and that it reads the policy's tokens",
        )  # fmt: skip
    return None


def _no_signal(curves: _Curves, held_out: str) -> Finding | None:
    """Groups whose answers are all worth the same have no advantage."""
    (steps, solved), (_, failed) = curves("groups_solved"), curves("groups_failed")
    if not len(steps) or not (ill := solved + failed > 0.9).any() or not ill[-1]:
        return None
    start = int(np.argmax([ill[i:].all() for i in range(len(ill))]))
    if start and solved[-1] > 0.9:
        return None  # all has been learned
    easy = solved[start] > failed[start]
    share = solved[start] + failed[start]
    return Finding(
        "no signal", int(steps[start]), f"all answers are worth the same in {share:.0%} of the groups",
        ("Pose harder problems" if easy else "Pose easier problems, or fit the start to demonstrations")
        + ", or pay in degrees: does the verifier tell answers apart",
    )  # fmt: skip


def _too_large_steps(curves: _Curves, held_out: str) -> Finding | None:
    """A reward that falls to half of what it was, or of the best so far."""
    steps, reward = curves("reward")
    if len(reward) < 3 or reward.max() < 0.05:
        return None
    best = np.maximum.accumulate(reward)
    if ill := curves.first("reward", lambda x: (x < 0.5 * best) & (best > 0.05)):
        return Finding(
            "too large steps", ill[0], f"the reward has fallen from {best[steps <= ill[0]].max():.2f} to {ill[1]:.2f}",
            "Lower the learning rate, by a factor of ten first, or clip the gradient, unless harder problems are posed",
        )  # fmt: skip
    return None


def _gamed_verifier(curves: _Curves, held_out: str) -> Finding | None:
    """A reward that rises while what it stands for does not."""
    (steps, reward), (at, score) = curves("reward"), curves(held_out)
    if len(reward) < 3 or len(score) < 2:
        return None
    gained = np.interp(at, steps, reward)
    gained, kept = gained - gained[0], score - score[0]
    ill = (gained > 0.15) & (kept < 0.25 * gained)
    if not ill[-1]:
        return None
    start = int(np.argmax(ill))
    return Finding(
        "gamed verifier", int(at[start]), f"the reward has risen by {gained[-1]:.2f} and {held_out} by {kept[-1]:.2f}",
        "Read some answers, and close what the verifier lets pass",
    )  # fmt: skip


def _truncated(curves: _Curves, held_out: str) -> Finding | None:
    """Answers that are cut off to the end of the run; at its beginning a policy may have to learn to end."""
    _, share = curves("truncated")
    if len(share) and share[-1] > 0.3 and (ill := curves.first("truncated", lambda x: x > 0.3)):
        return Finding(
            "truncated answers", ill[0], f"{ill[1]:.0%} of the answers are cut off before they end",
            "Raise max_new_tokens, or add overlong_penalty to the reward",
        )  # fmt: skip
    return None


def _collapsed_entropy(curves: _Curves, held_out: str) -> Finding | None:
    """Nothing is tried any more, and not because everything is right."""
    (_, entropy), (_, reward) = curves("entropy"), curves("reward")
    if not len(entropy) or len(entropy) != len(reward):
        return None
    ill = curves.first("entropy", lambda x: (x < 0.02) & (reward < 0.8))
    if ill:
        return Finding(
            "collapsed entropy", ill[0], f"the entropy is {ill[1]:.2g} nats a token and the reward is not near its end",
            "Raise clip_high, add adaptive_entropy or kl_cov_loss, or begin from a less certain policy",
        )  # fmt: skip
    return None


def _saturated_clip(curves: _Curves, held_out: str) -> Finding | None:
    if ill := curves.first("clipped", lambda x: x > 0.4):
        return Finding(
            "saturated clip", ill[0], f"{ill[1]:.0%} of the tokens are clipped",
            "Take fewer updates a batch, or smaller ones",
        )  # fmt: skip
    return None


def _drifting_length(curves: _Curves, held_out: str) -> Finding | None:
    """Answers that double or halve while the reward gains nothing."""
    (_, length), (_, reward) = curves("length"), curves("reward")
    if len(length) < 3 or len(length) != len(reward):
        return None
    ratio = length / max(length[0], 1e-6)
    ill = curves.first("length", lambda x: ((ratio > 2) | (ratio < 0.5)) & (reward < reward[0] + 0.02))
    if ill:
        return Finding(
            "drifting length", ill[0], f"answers have {ill[1]:.1f} tokens, not {length[0]:.1f}, for no reward",
            "Aggregate by 'constant' or 'token-mean', or add overlong_penalty",
        )  # fmt: skip
    return None


def _exploding_gradient(curves: _Curves, held_out: str) -> Finding | None:
    _, norm = curves("gradient_norm")
    if len(norm) < 4:
        return None
    usual = np.median(norm[: max(len(norm) // 3, 3)])
    if ill := curves.first("gradient_norm", lambda x: x > 30 * max(usual, 1e-3)):
        return Finding(
            "exploding gradient", ill[0], f"the norm of the gradient is {ill[1]:.2g} where it was {usual:.2g}",
            "Clip it, or leave such steps out: mixture_of_rewards.skip_large_gradients",
        )  # fmt: skip
    return None


# The worst first.
RULES: tuple[Callable[[_Curves, str], Finding | None], ...] = (
    _wrong_teacher, _too_large_steps, _no_signal, _gamed_verifier, _truncated, _collapsed_entropy, _saturated_clip,
    _exploding_gradient, _drifting_length,
)  # fmt: skip
