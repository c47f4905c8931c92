"""Distil one small language model into a smaller one and watch it near its teacher and leave the truth.

The truth is a random decoder, the oracle. Teacher and student are first trained on the same few of its sequences;
then every arm takes the same student through the same number of updates with the forward KL to the teacher, each on
sequences from another source. Held-out prompts tell how far the student is from the teacher (proxy) and from the
oracle (golden): both are exact divergences between the distributions of whole sequences. Oracle, samples, teacher and
initial student depend on the seed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from jaxlab.core import Learner, cross_entropy
from jaxlab.distillation import hacking_score, power_law_fit, sequence_kl, token_forward_kl
from jaxlab.language import Decoder, sample
from jaxlab.training import Arm, Claim, Experiment

SOURCES = ("none", "offline", "teacher", "student", "mixed")


class Student(NamedTuple):
    """A student under distillation: what is trained, what is fixed, and copies from along the way `[K, ...]`."""

    params: Any
    opt_state: Any
    frozen: Any
    copies: Any
    step: jax.Array


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/distillation/teacher_hacking.py describes.

    Args:
      config: see that file for the keys.
      download: unused, nothing is fetched.
    """
    task = _Task(config)
    steps = np.asarray(task.steps, np.float32)
    prompts = task.prompts
    smallest = min(arm.prompts for arm in config.arms.values())
    data = {
        "train": {"prompt": prompts["distil"]},
        "val": {"prompt": prompts["val"]},
        "val_seen": {"prompt": prompts["distil"][:smallest]},
        "test": {"prompt": prompts["test"], "steps": steps},
    }
    if not config.test:
        del data["test"]
    return Experiment(
        data=data,
        draw=lambda train, key: {"row": jax.random.randint(key, (config.batch_size,), 0, 2**30)},
        prepare={
            "oracle": Arm(task.oracle(), 1, lambda state, split: {}),
            "teacher": task.fine_tuned(task.teacher, config.teacher),
            "student": task.fine_tuned(task.student, config.student),
            "pool": Arm(task.pool(), 1, lambda state, split: {}),
        },
        arms={name: Arm(task.distilled(arm), arm.steps or config.steps) for name, arm in config.arms.items()},
        evaluate=task.distances,
        claims=tuple(Claim(**claim) for claim in config.claims),
    )


class _Task:
    """The models and the prompts of a config, and the stages made of them."""

    def __init__(self, config: ConfigDict):
        self.config, self.vocab, self.length = config, config.vocab, config.length
        _check(config)
        shape = {"vocab_size": config.vocab, "context": config.prompt_length + config.length, "tied": False}
        self.models = {
            name: Decoder(**shape, **config[name].shape.to_dict())
            for name in ("oracle", "teacher", "student")
        }
        self.teacher, self.student = self.models["teacher"], self.models["student"]
        self.prompts = _prompts(config)
        self.steps = _moments(config.steps, config.copies)

    def oracle(self) -> Learner:
        """The truth, and what teacher and student are shown of it."""
        model, spec, prompts = self.models["oracle"], self.config.oracle, self._asked()

        def init(key: jax.Array, context: Any) -> dict[str, Any]:
            weights, draws = jax.random.split(key)
            params = model.init(weights)
            params["output"] = spec.sharpness * params["output"]
            return {"params": params, "shown": self._answers(model, params, prompts, draws)}

        return Learner(init, lambda state, batch, key: (state, {}))

    def pool(self) -> Learner:
        """The teacher's stored answers to the prompts of the distillation `[prompts, generations, T]`."""
        prompts, most = (
            jnp.asarray(self.prompts["distil"]),
            max(a.generations for a in self.config.arms.values()),
        )

        def init(key: jax.Array, context: Any) -> jax.Array:
            rows = jnp.repeat(prompts, most, axis=0)
            answers = self._answers(self.teacher, context["teacher"], rows, key)
            return answers.reshape(len(prompts), most, self.length)

        return Learner(init, lambda state, batch, key: (state, {}))

    def fine_tuned(self, model: Decoder, spec: ConfigDict) -> Arm:
        """A model trained on the first `examples` of what the oracle shows."""
        prompts, optimizer = self._asked(), _optimizer(spec, spec.steps)

        def init(key: jax.Array, context: Any) -> Student:
            params = model.init(key)
            return Student(params, optimizer.init(params), context["oracle"], (), jnp.int32(0))

        def loss(params: Any, shown: jax.Array, row: jax.Array) -> jax.Array:
            row = row % spec.examples
            return cross_entropy(self._logits(model, params, prompts[row], shown[row]), shown[row]).mean()

        def update(state: Student, batch: Any, key: jax.Array) -> tuple[Student, dict]:
            value, grads = jax.value_and_grad(loss)(state.params, state.frozen["shown"], batch["row"])
            return _stepped(state, grads, optimizer), {"loss": value}

        def evaluate(state: Student, split: Any) -> dict[str, jax.Array]:
            def distance(prompt: jax.Array) -> jax.Array:
                truth = self._tree(self.models["oracle"], state.frozen["params"], prompt)
                return sequence_kl(self._tree(model, state.params, prompt), truth)

            return {"golden": jax.lax.map(distance, split["prompt"]).mean()}

        return Arm(Learner(init, update), spec.steps, evaluate, export=lambda state: state.params)

    def distilled(self, arm: ConfigDict) -> Learner:
        """The student, updated on sequences from the arm's source."""
        prompts = jnp.asarray(self.prompts["distil"])[: arm.prompts]
        optimizer = _optimizer(arm, self.config.steps)
        moments = jnp.asarray(self.steps)

        def init(key: jax.Array, context: Any) -> Student:
            params = context["student"]
            copies = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(moments), *x.shape)), params)
            frozen = {
                "oracle": context["oracle"]["params"],
                "teacher": context["teacher"],
                "pool": context["pool"][: arm.prompts, : arm.generations],
            }
            return Student(params, optimizer.init(params), frozen, copies, jnp.int32(0))

        def loss(params: Any, frozen: Any, row: jax.Array, key: jax.Array) -> jax.Array:
            asked, answers = self._sequences(arm, params, frozen, prompts, row, key)
            soft = self._logits(self.teacher, frozen["teacher"], asked, answers)
            return token_forward_kl(self._logits(self.student, params, asked, answers), soft).mean()

        def update(state: Student, batch: Any, key: jax.Array) -> tuple[Student, dict]:
            value, grads = jax.value_and_grad(loss)(state.params, state.frozen, batch["row"], key)
            if arm.source == "none":
                grads = jax.tree.map(jnp.zeros_like, grads)
            state = _stepped(state, grads, optimizer)
            slot = jnp.searchsorted(moments, state.step)
            copies = jax.tree.map(lambda all_, one: all_.at[slot].set(one), state.copies, state.params)
            return state._replace(copies=copies), {"loss": value}

        return Learner(init, update)

    def distances(self, state: Student, split: Any) -> dict[str, jax.Array]:
        """Proxy and golden now; for a split with `steps` also how both went over training."""
        whole = "steps" in split
        students = state.copies if whole else jax.tree.map(lambda x: x[None], state.params)

        def both(prompt: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            teacher = self._tree(self.teacher, state.frozen["teacher"], prompt)
            oracle = self._tree(self.models["oracle"], state.frozen["oracle"], prompt)

            def one(params: Any) -> tuple[jax.Array, jax.Array]:
                student = self._tree(self.student, params, prompt)
                return sequence_kl(student, teacher), sequence_kl(student, oracle)

            return *jax.lax.map(one, students), sequence_kl(teacher, oracle)

        proxy, golden, own = (x.mean(0) for x in jax.lax.map(both, split["prompt"]))
        scores = {"proxy": proxy[-1], "golden": golden[-1]}
        if not whole:
            return scores
        law, lowest = power_law_fit(split["steps"], proxy), golden.argmin()
        return scores | {
            "teacher_golden": own,
            "golden_best": golden.min(),
            "hacking": hacking_score(golden),
            "proxy_fall": jnp.where(lowest < len(proxy) - 1, proxy[lowest] - proxy[-1], 0.0),
            "exponent": law.exponent,
            "deviation": law.deviation,
        }

    def _asked(self) -> jax.Array:
        """What the oracle is asked, every prompt `generations` times."""
        return jnp.tile(jnp.asarray(self.prompts["sft"]), (self.config.oracle.generations, 1))

    def _sequences(
        self, arm: ConfigDict, params: Any, frozen: Any, prompts: Any, row: Any, key: Any
    ) -> tuple:
        """Prompts and answers of one batch, stored or sampled now."""
        asked = prompts[row % len(prompts)]
        if arm.source in ("none", "offline", "mixed"):
            stored = frozen["pool"].reshape(-1, self.length)
            pair = row % len(stored)
            old = prompts[pair // arm.generations], stored[pair]
        if arm.source in ("student", "mixed"):
            fresh = asked, self._answers(self.student, jax.lax.stop_gradient(params), asked, key)
        if arm.source == "teacher":
            fresh = asked, self._answers(self.teacher, frozen["teacher"], asked, key)
        if arm.source == "mixed":
            is_old = (jnp.arange(len(row)) % 2 == 0)[:, None]
            return tuple(jnp.where(is_old, a, b) for a, b in zip(old, fresh))
        return fresh if arm.source in ("teacher", "student") else old

    def _answers(self, model: Decoder, params: Any, prompts: jax.Array, key: jax.Array) -> jax.Array:
        everything = jnp.ones(prompts.shape, bool)
        rollout = sample(
            model, params, prompts, everything, key, max_new_tokens=self.length, eos=None, stop_early=False
        )
        return rollout.tokens

    def _logits(self, model: Decoder, params: Any, prompts: jax.Array, answers: jax.Array) -> jax.Array:
        """`[B, T, V]` before each token of the answers."""
        hidden = model.apply(params, jnp.concatenate([prompts, answers[:, :-1]], axis=1))
        return model.logits(params, hidden[:, prompts.shape[1] - 1 :])

    def _tree(self, model: Decoder, params: Any, prompt: jax.Array) -> jax.Array:
        """`[N, V]` next-token logits after every prefix of an answer to one prompt, in heap order."""
        known = len(prompt)
        hidden, cache = model.prefill(params, prompt[None], capacity=known + self.length - 1)
        levels = [model.logits(params, hidden[:, -1])]
        for depth in range(1, self.length):
            rows = self.vocab**depth
            token = jnp.tile(jnp.arange(self.vocab), rows // self.vocab)
            position = jnp.full(rows, known + depth - 1)
            hidden, cache = model.decode(params, cache.repeated(self.vocab), token, position)
            levels.append(model.logits(params, hidden))
        return jnp.concatenate(levels)


def _check(config: ConfigDict) -> None:
    for name in ("vocab", "length", "prompt_length", "batch_size", "steps"):
        if config[name] < 1:
            raise ValueError(f"{name} is {config[name]}: it must be at least 1")
    if config.copies < 2:
        raise ValueError(f"copies is {config.copies}: a curve needs at least 2")
    if not config.arms:
        raise ValueError("arms is empty: name at least one")
    shown = config.prompts.sft * config.oracle.generations
    for name in ("teacher", "student"):
        if not 1 <= config[name].examples <= shown:
            raise ValueError(
                f"{name}.examples is {config[name].examples}: it must be between 1 and prompts.sft times "
                f"oracle.generations, {shown}"
            )
    for name, arm in config.arms.items():
        if arm.source not in SOURCES:
            raise ValueError(f"arm {name}: source is {arm.source!r}: it must be one of {', '.join(SOURCES)}")
        if not 1 <= arm.prompts <= config.prompts.distil:
            raise ValueError(
                f"arm {name}: prompts is {arm.prompts}: it must be between 1 and prompts.distil, "
                f"{config.prompts.distil}"
            )
        if arm.generations < 1:
            raise ValueError(f"arm {name}: generations is {arm.generations}: it must be at least 1")


def _prompts(config: ConfigDict) -> dict[str, np.ndarray]:
    """Disjoint sets of prompts `[n, prompt_length]`, the same for all seeds."""
    known, vocab = config.prompt_length, config.vocab
    counts, have = config.prompts.to_dict(), vocab**known
    if sum(counts.values()) > have:
        raise ValueError(
            f"prompts ask for {sum(counts.values())}: {known} tokens of {vocab} make {have} prompts"
        )
    order = np.random.default_rng(config.split_seed).permutation(have)
    every = np.stack(np.unravel_index(order, (vocab,) * known), axis=1).astype(np.int32)
    parts = np.split(every, np.cumsum(list(counts.values())))
    return dict(zip(counts, parts))


def _moments(steps: int, copies: int) -> list[int]:
    """About `copies` different steps from 1 to `steps`, evenly spaced on a logarithmic axis."""
    return np.unique(np.round(np.geomspace(1, steps, copies)).astype(np.int32)).tolist()


def _optimizer(spec: ConfigDict, steps: int) -> optax.GradientTransformation:
    rate = spec.learning_rate
    schedule = optax.cosine_decay_schedule(rate, steps) if spec.decay else optax.constant_schedule(rate)
    return optax.adamw(schedule, weight_decay=spec.weight_decay)


def _stepped(state: Student, grads: Any, optimizer: optax.GradientTransformation) -> Student:
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return state._replace(params=params, opt_state=opt_state, step=state.step + 1)
