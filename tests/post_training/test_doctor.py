"""Six planted illnesses of real, tiny training are each named; the same training without them has no findings."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import post_training as pt
from jaxlab.core import InputError
from jaxlab.post_training import Finding, diagnose
from tests.post_training.test_rlvr import EOS, MODEL, PAYS, PROBLEMS, _learner, _verify

STEPS, EVERY = 60, 4
RESULTS = pathlib.Path(__file__).parents[2] / "results" / "post_training"


def _loss(log_probs, r, advantage):
    loss = pt.aggregate(pt.gpg_loss(log_probs, advantage, where=r.mask), r.mask)
    return loss, {"teacher_kl": jnp.sum((r.log_probs - r.teacher_log_probs) * r.mask) / jnp.sum(r.mask)}


def _plain(log_probs, r, advantage):
    return pt.aggregate(pt.gpg_loss(log_probs, advantage, where=r.mask), r.mask), {}


def _ends(tokens, mask):
    return jnp.any((tokens == EOS) & mask, axis=1)


def _pays(problems, tokens, mask):
    """Half for the right token, half for an end."""
    return (_verify(problems, tokens, mask) + 0.0 + _ends(tokens, mask)) / 2


def _rows(**options):
    """What a run logs, under the engine's names: means over every few steps, with a held-out score."""
    teacher = (MODEL, lambda context: MODEL.init(jax.random.key(0)))  # as good as the start
    healthy = {"optimizer": optax.adam(0.01), "loss": _loss, "teacher": teacher, "verify": _pays}
    learner = _learner(**healthy | options)

    @jax.jit
    def train(key):
        def step(state, key):
            state, metrics = learner.update(state, PROBLEMS, key, {})
            out = pt.roll_out(
                MODEL, state.params, PROBLEMS, key, step=state.step, group_size=8, max_new_tokens=2, eos=EOS
            )
            right = _verify(PROBLEMS._replace(answers=PROBLEMS.answers.repeat(8)), out.tokens, out.mask)
            return state, metrics | {"val/accuracy": jnp.mean(right.astype(jnp.float32))}

        return jax.lax.scan(step, learner.init(jax.random.key(9), {}), jax.random.split(key, STEPS))[1]

    metrics = jax.tree.map(lambda x: np.asarray(x).reshape(-1, EVERY).mean(1), train(jax.random.key(0)))
    return [
        {"step": EVERY * (i + 1)} | {_logged(name): [value[i]] for name, value in metrics.items()}
        for i in range(STEPS // EVERY)
    ]


def _logged(name):
    return name if "/" in name else f"train/{name}"


def _games(problems, tokens, mask):
    """Pays for another token than the one that is asked for."""
    return (tokens[:, 0] == PAYS - 1) & mask[:, 0] & _ends(tokens, mask)


def _certain(context):
    """A policy that always writes one and the same, whatever it is paid for."""
    params = MODEL.init(jax.random.key(0))
    return params | {"embed": 400 * params["embed"]}


def _good(context):
    """A policy that is paid most of what there is to be paid."""
    learner = _learner(optimizer=optax.adam(0.01), verify=_pays)
    keys = jax.random.split(jax.random.key(5), 40)
    step = lambda state, key: (learner.update(state, PROBLEMS, key, {})[0], None)
    return jax.lax.scan(step, learner.init(jax.random.key(9), {}), keys)[0].params


def _zeros(r):
    return r._replace(teacher_log_probs=jnp.zeros_like(r.log_probs))


ILL = {
    "no signal": {"verify": lambda problems, tokens, mask: jnp.zeros(tokens.shape[0])},
    "gamed verifier": {"verify": _games},
    "too large steps": {"policy": _good, "optimizer": optax.adam(1.0), "teacher": None, "loss": _plain,
                        "verify": lambda *given: _pays(*given) > 0.9},
    "collapsed entropy": {"policy": _certain, "teacher": None, "loss": _plain},
    "truncated answers": {"verify": _verify},
    "dead teacher": {"advantage": lambda r: pt.grpo_advantage(r.rewards, r.group),
                     "loss": lambda log_probs, r, a: _loss(log_probs, _zeros(r), a)},
}  # fmt: skip


# They pose harder problems, which are rewarded less.
HARDER = ("adcl", "pcl", "refresh", "staged", "easy_to_hard")


def test_training_that_goes_well_has_no_findings():
    assert diagnose(_rows()) == []


@pytest.mark.parametrize("illness", ILL)
def test_a_planted_illness_is_named(illness):
    found = diagnose(_rows(**ILL[illness]))
    assert illness in [finding.illness for finding in found]
    assert len(found) <= 3
    finding = next(own for own in found if own.illness == illness)
    assert isinstance(finding, Finding)
    assert 0 < finding.step <= STEPS
    assert str(finding).startswith(f"step {finding.step}: ")
    assert str(finding).endswith(f"{finding.remedy}.")


def test_published_runs_that_are_healthy_have_no_findings():
    for path in RESULTS.glob("*.curves.json"):
        name = path.stem.split(".")[0]
        if name.endswith("-tune") or name.removesuffix("-long") == "mismatch":
            continue  # searches try what is too much; a sampler that is not the learner is an illness
        for arm, groups in json.loads(path.read_text()).items():
            rows = [
                {"step": step} | {name: values[i] for name, values in group["mean"].items()}
                for group in groups
                for i, step in enumerate(group["steps"])
            ]
            assert diagnose(rows) == [] or arm in HARDER, (path.name, arm)


def test_a_row_without_a_step_is_refused():
    with pytest.raises(InputError, match="a row has no step"):
        diagnose([{"reward": 1.0}])


def test_the_report_has_the_findings():
    from experiments.post_training._learners import findings

    rows = [{"step": s, "groups_failed": 1.0, "groups_solved": 0.0} for s in (1, 2, 3)]
    (line,) = findings({"grpo": rows, "other": []})
    assert line.startswith("grpo, step 1: all answers are worth the same in 100% of the groups.")
