"""Whatever takes `axis_name` gives on four devices the value and the gradient of one.

`CASES` give arrays that are the same on every device, `PER_EXAMPLE` a row for each example that a device holds; all
depend on a weight. Device 1 has no example that counts and the others unequal numbers, groups and classes span devices:
a mean of device means is wrong.
"""

import functools
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlab
from jaxlab import core, distillation, metrics
from jaxlab import post_training as rl
from jaxlab import self_supervised as ssl
from jaxlab import semi_supervised as semi
from jaxlab.continual.proxy_contrast import proxy_contrastive_loss
from jaxlab.distillation import dcd, mcmi, noise_mask, tgeo_kd
from jaxlab.merging import adamerging
from jaxlab.post_training import kdrl
from jaxlab.post_training.ampo import needs_guidance, split_advantage
from jaxlab.post_training.mixture_of_rewards import calibrate_rewards
from jaxlab.post_training.nft import correct_rate
from jaxlab.ranking import dla
from jaxlab.self_supervised import amcl, hydra, mixed_barlow_twins, supremix
from jaxlab.semi_supervised import dual_mean_teacher, rail, sefar, sounding_maps
from tests.core.conftest import WORLDS
from tests.public import public

N, D, K, T = 8, 5, 3, 4
RNG = np.random.default_rng(0)
draw = lambda *shape: RNG.normal(size=shape).astype(np.float32)
WHERE = np.array([1, 1, 0, 0, 1, 0, 1, 1], bool)
LENGTHS = np.array([4, 1, 0, 0, 2, 4, 1, 2])
BATCH = {
    "x": draw(N, D),
    "y": draw(N, D),
    "z": draw(N, D),
    "where": WHERE,
    "column": WHERE[:, None],
    "nothing": np.zeros((N, 1), bool),
    "label": np.array([0, 1, 2, 0, 1, 1, 0, 2], np.int32),
    "partner": np.arange(N, dtype=np.int32) ^ 1,  # on the same device
    "share": RNG.beta(2, 8, size=(N, N)).astype(np.float32),
    "index": np.array([5, 1, 8, 3, 0, 2, 8, 5], np.int32),  # example 5 is on two devices
    "negatives": RNG.integers(0, 9, size=(N, 4)).astype(np.int32),
    "clicks": (RNG.random((N, D)) < 0.4).astype(np.float32),
    "map": draw(N, 3, D),
    "target_map": RNG.random((N, 3, D)).astype(np.float32),
    "tokens": draw(N, T),
    "old": draw(N, T),
    "teacher": draw(N, T),
    "entropy": RNG.random((N, T)).astype(np.float32),
    "mask": np.arange(T) < LENGTHS[:, None],
    "reward": draw(N),
    "lengths": LENGTHS,
    "group": np.array([0, 7, 0, 3, 7, 3, 0, 5]),
    "slot": np.arange(N),
}
WEIGHT = np.array([0.5, 1.0, -0.7, 1.3, 0.8], np.float32)
GATE = hydra.pair_gate_init(jax.random.key(0), num_classes=K, dim=D, embedding=4, hidden=6)
CRD = distillation.crd_init(jax.random.key(1), 9, D)
QUEUE = core.queue_push(core.queue_init(6, D), draw(2, D))


def _made(w, b):
    """Features that depend on the weight, and not linearly."""
    return jnp.tanh(b["x"] * w) + 0.1 * b["y"]


def _views(w, b):
    return jnp.stack([_made(w, b), b["y"] * w, b["z"] + 0.2 * w])


def _probs(w, b):
    return jax.nn.softmax(3 * _made(w, b)[:, :K])


def _ratio(w, b):
    return rl.token_importance_ratio(b["tokens"] * w[0], b["old"], where=b["mask"])


def _temperature(u, v):
    return 0.2 + 0.1 * jnp.tanh(jnp.sum(u * v, axis=-1))


# What is called otherwise than by arrays of the whole batch: partners are on the same device.
def sefar_loss(labelled, strong, mixed, labels, partner, *, where, axis_name):
    partner = partner if axis_name is None else partner % 2
    logits = [x[:, :K] for x in (labelled, strong, mixed)]
    teacher = jnp.stack(logits[1:])
    total, _ = sefar.sefar_loss(  # its parts are of the device's own rows
        logits[0], labels, *logits[1:], teacher, partner, 0.4, 0.7, where=where, axis_name=axis_name
    )
    return total


def rail_student_loss(own, own_unlabelled, best, best_unlabelled, teacher, labels, *, axis_name):
    logits = [x[:, :2] for x in (own_unlabelled, best, best_unlabelled, teacher)]
    weights = {"consistency_weight": 0.3, "teacher_weight": 0.7}
    return rail.rail_student_loss(
        own[:, :2], labels % 2, *logits, is_best=False, **weights, axis_name=axis_name
    )


def mixed_barlow_twins_loss(first, second, mixed, partner, *, where, axis_name):
    partner = partner if axis_name is None else partner % 2
    return mixed_barlow_twins.mixed_barlow_twins_loss(
        first, second, mixed, share=0.3, partner=partner, where=where, axis_name=axis_name
    )


def adamerging_loss(logits, *, where, axis_name):
    return adamerging.adamerging_loss(logits[None], where=where[None], axis_name=axis_name)


def crd_loss(student, teacher, index, negatives, *, where, axis_name):
    losses, state = distillation.crd_loss(
        CRD, student, teacher, index, negatives, where=where, axis_name=axis_name
    )
    return core.masked_mean(losses, where=where, axis_name=axis_name), state


class Case(NamedTuple):
    """A function, its arguments `(weight, batch) -> tuple`, other options, and the key of its `where` in the batch."""

    function: Callable
    arguments: Callable
    options: Mapping = MappingProxyType({})
    where: str | None = "where"

    @property
    def name(self):
        options = "".join(f", {key}={value}" for key, value in self.options.items() if not callable(value))
        return f"{self.function.__name__}{options}"

    def __call__(self, weight, batch, axis_name):
        mask = {} if self.where is None else {"where": batch[self.where]}
        return self.function(*self.arguments(weight, batch), **mask, **self.options, axis_name=axis_name)


def table(*rows):
    cases = [Case(*row) for row in rows]
    found = {case.name: case for case in cases}
    assert len(found) == len(cases)
    return found


made_and_seen = lambda w, b: (_made(w, b), b["y"] * w)
logits_and_labels = lambda w, b: (b["x"] * w, b["label"])
probs_and_labels = lambda w, b: (_probs(w, b), b["label"])
of_groups = lambda w, b: (b["reward"], b["group"])
tokens = lambda w, b: (b["tokens"] * w[0], b["mask"])
ratios = lambda w, b: (_ratio(w, b), b["reward"])

# Arrays that are the same on every device.
CASES = table(
    (core.masked_sum, lambda w, b: (jnp.tanh(b["x"] * w),), {"axis": 0}, "column"),
    (core.masked_mean, lambda w, b: (jnp.sin(b["x"] * w),), {}, "column"),
    (core.masked_mean, lambda w, b: (b["x"] * w,), {"axis": 0}, "nothing"),
    (core.masked_var, lambda w, b: (jnp.cos(b["x"] * w),), {"axis": 0, "ddof": 1}, "column"),
    (core.masked_std, lambda w, b: (jnp.tanh(b["x"] + w),), {}, None),
    (core.class_means, lambda w, b: (_made(w, b), b["label"]), {"num_classes": 4}),
    (core.cross_correlation, made_and_seen),
    (core.queue_push, lambda w, b: (QUEUE, _made(w, b))),
    (metrics.accuracy, logits_and_labels),
    (metrics.top_k_accuracy, logits_and_labels, {"k": 2}),
    (metrics.expected_calibration_error, logits_and_labels),
    (metrics.class_overlap, lambda w, b: (b["label"], b["index"] % K), {"num_classes": 4}),
    (mcmi.class_centroids, probs_and_labels),
    (tgeo_kd.class_mean_teacher, probs_and_labels),
    (mcmi.ema_centroids, lambda w, b: (jnp.full((K, K), 1 / 3), *probs_and_labels(w, b)), {"min_count": 2}),
    (crd_loss, lambda w, b: (_made(w, b), b["z"], b["index"], b["negatives"])),
    (dcd.dcd_loss, lambda w, b: (b["x"] * w, b["y"])),
    (distillation.intra_class_loss, lambda w, b: (b["x"] * w, b["y"])),
    (distillation.dist_loss, lambda w, b: (b["x"] * w, b["y"]), {"gamma": 2.0}),
    (noise_mask.update_base, lambda w, b: (jnp.zeros(D), b["x"] * w), {"decay": 0.5}),
    (dla.dla_losses, lambda w, b: (b["x"] * w, -jnp.arange(5.0) / 2 * w, b["clicks"]), {}, None),
    (dla.weighted_list_loss, lambda w, b: (b["x"] * w, b["clicks"]), {}, None),
    (adamerging_loss, lambda w, b: (b["x"] * w,)),
    (ssl.barlow_twins_loss, made_and_seen),
    (mixed_barlow_twins_loss, lambda w, b: (*_views(w, b), b["partner"])),
    (ssl.vicreg_loss, made_and_seen),
    (hydra.gated_positive_loss, lambda w, b: (_made(w, b), jnp.abs(b["y"]), b["label"], (b["label"] + 1) % K)),
    (ssl.dino_center_update, lambda w, b: (jnp.zeros(D), _views(w, b))),
    (semi.adaptive_update, lambda w, b: (semi.adaptive_init(K), _probs(w, b)), {"decay": 0.5}),
    (semi.curriculum_update, lambda w, b: (semi.curriculum_init(9), _probs(w, b), b["index"]), {"threshold": 0.5}),
    (dual_mean_teacher.dual_teacher_loss, lambda w, b: (
        b["map"] * w, b["target_map"], b["map"][:, ::-1] * w, b["target_map"], b["index"] % 3 == 0)),
    (semi.pseudo_label_quality, lambda w, b: (semi.pseudo_label(_probs(w, b), threshold=0.5), b["label"])),
    (rail_student_loss, lambda w, b: [b[key] * w for key in "xy"] + [b[key] for key in "zxz"] + [b["label"]], {}, None),
    (sefar_loss, lambda w, b: (*(b[key] * w for key in "xyz"), b["label"], b["partner"])),
    (semi.unlabelled_fraction, lambda w, b: (b["label"] > 0,)),
    (rl.clip_fraction, ratios, {}, "mask"),
    (rl.dual_clip_fraction, ratios, {"dual_clip": 1.2}, "mask"),
    (kdrl.kdrl_loss, lambda w, b: (b["tokens"] * w[0], b["old"], b["teacher"], b["reward"], b["mask"]),
     {"beta": 0.3}, None),
    *((rl.aggregate, tokens, {"mode": mode, "count_empty": mode != "constant"}, None)
      for mode in ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "constant")),
)  # fmt: skip

# Arrays with a row for each example of the device.
PER_EXAMPLE = table(
    (core.standardize_batch, lambda w, b: (_made(w, b),)),
    (core.nt_xent, made_and_seen),
    (core.nt_xent, made_and_seen, {"chunk": 2}),
    (core.supcon_loss, lambda w, b: (_made(w, b), b["label"])),
    (proxy_contrastive_loss, lambda w, b: (_made(w, b), jnp.eye(D)[:K] * w, b["label"])),
    (dcd.entropy_weights, lambda w, b: (b["x"] * w,)),
    (noise_mask.released_mask_loss, lambda w, b: (b["x"] * w, b["reward"])),
    *((loss, lambda w, b: (_views(w, b),)) for loss in (
        ssl.mv_infonce, ssl.mv_dhel, ssl.pairwise_nt_xent, ssl.pairwise_dhel, ssl.multi_positive_nt_xent,
        ssl.poly_view_loss, ssl.mean_view_contrast)),
    (ssl.dhel, made_and_seen),
    (amcl.adaptive_multi_head_loss, lambda w, b: (_views(w, b)[:2], _views(w, b)[1:], _temperature)),
    (amcl.adaptive_multi_head_loss, lambda w, b: (_views(w, b)[:2], _views(w, b)[1:], 0.3),
     {"against": "all", "with_positive": True}),
    (supremix.hard_mixture_loss, lambda w, b: (_made(w, b), b["label"].astype(jnp.float32), b["share"]),
     {"window": 3.0}),
    (hydra.pair_gate, lambda w, b: (jax.tree.map(lambda x: x * w[0], GATE), b["label"], (b["label"] + 1) % K)),
    (sounding_maps.audio_visual_contrastive, lambda w, b: (b["map"][:, None] * w, b["y"]), {"temperature": 0.3}),
    (rl.gdpo_advantage, lambda w, b: (jnp.stack([b["reward"], b["reward"] ** 2], axis=1), b["group"])),
    (rl.opo_advantage, lambda w, b: (b["reward"], b["lengths"], b["group"])),
    (rl.reinforce_pp_advantage, lambda w, b: (b["old"], b["mask"]), {}, None),
    (rl.reinforce_pp_baseline_advantage, lambda w, b: (b["reward"], b["group"], b["mask"])),
    (rl.top_entropy_mask, lambda w, b: (b["entropy"], b["mask"]), {"fraction": 0.4}, None),
    (rl.whiten, tokens, {}, None),
    (kdrl.kd_keep_mask, lambda w, b: (b["reward"] > 0, b["group"]), {"mode": "group"}),
    (calibrate_rewards, lambda w, b: (b["reward"], b["group"], b["label"] > 0)),
    (correct_rate, lambda w, b: (b["reward"] > 0, b["group"])),
    (needs_guidance, of_groups),
    (split_advantage, lambda w, b: (b["reward"], b["group"], b["label"] > 0), {"scale": "group"}),
    *((advantage, of_groups, options) for advantage, options in (
        (rl.grpo_advantage, {}), (rl.grpo_advantage, {"scale": "batch"}), (rl.dr_grpo_advantage, {}),
        (rl.rloo_advantage, {}), (rl.gpg_advantage, {}), (rl.pass_at_k_advantage, {}), (rl.maxrl_advantage, {}),
        (rl.group_statistics, {}), (rl.dynamic_sampling_weights, {}),
        (rl.dynamic_sampling_weights, {"rescale": True}))),
)  # fmt: skip
EVERY = CASES | PER_EXAMPLE
# A whole step of the two, with memories, over 1, 2, 4 and 8 devices: tests/semi_supervised/test_prototype_devices.py
IN_A_STEP = {"ev_wsss_loss", "class_queues_push", "prototype_exchange_loss"}


def _scalar(name, weight, batch, axis_name):
    """The outputs weighted and summed: rows over all devices."""
    leaves = jax.tree.leaves(EVERY[name](weight, batch, axis_name))
    if name in CASES:
        return sum(jnp.sum(leaf * jnp.cos(jnp.arange(leaf.size).reshape(leaf.shape))) for leaf in leaves)
    place = 1.0 + batch["slot"]
    rows = [leaf * place.reshape(-1, *[1] * (leaf.ndim - 1)) for leaf in leaves]
    return sum(core.masked_sum(leaf, axis_name=axis_name) for leaf in rows)


def _all(weight, batch, axis_name="data"):
    """`{name: (value, gradient)}`, in one program."""
    found = {}
    for name in EVERY:
        graded = jax.value_and_grad(functools.partial(_scalar, name))(weight, batch, axis_name)
        found[name] = graded if axis_name is None else (graded[0], jax.lax.pmean(graded[1], axis_name))
    return found


@functools.cache
def _alone():
    return jax.jit(lambda weight, batch: _all(weight, batch, None))(WEIGHT, BATCH)


@functools.cache
def _together(world):
    return WORLDS[world](_all, WEIGHT, BATCH)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    "world",
    [world if world == "shard_map" else pytest.param(world, marks=pytest.mark.wide) for world in WORLDS],
)
def test_four_devices_give_what_one_gives(world, name):
    got, expected = _together(world)[name], _alone()[name]
    chex.assert_tree_all_finite(got)
    # A gradient that is 0, as of what is divided by its own deviation, is a difference of terms of the value's size.
    scale = max(np.abs(expected[1]).max(), np.abs(expected[0]).max(), 1e-1)
    chex.assert_trees_all_close(got[0], expected[0], rtol=2e-5, atol=2e-6)
    chex.assert_trees_all_close(got[1], expected[1], rtol=1e-4, atol=1e-5 * float(scale))


def test_a_group_over_two_devices_by_hand():
    rewards, group = np.array([[1.0, 5.0], [3.0, 4.0]]), np.array([[3, 0], [3, 2]])
    got = jax.vmap(lambda r, g: rl.dr_grpo_advantage(r, g, axis_name="data"), axis_name="data")(
        rewards, group
    )
    np.testing.assert_array_equal(got, [[-1, 0], [1, 0]])


def test_no_function_with_an_axis_name_is_left_out():
    """Those that are public in a room or in a paper's module."""
    named = {case.function.__name__ for case in EVERY.values()} | IN_A_STEP
    rooms = [room.name for room in pkgutil.iter_modules(jaxlab.__path__) if room.ispkg]
    found = {
        name.rpartition(".")[2]
        for room in rooms
        for name, value in public(f"jaxlab.{room}").items()
        if inspect.isfunction(value) and "axis_name" in inspect.signature(value).parameters
    }
    assert found - named - {"find_groups", "per_device"} == set()
    assert named <= found
