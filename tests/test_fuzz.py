"""Fuzz of every public function on arrays: finite value and gradient, or one clear line; and what becomes of a NaN.

Hypothesis chooses shapes, dtypes, a pattern of values and a pattern of masks. What a function is called with stands
in `CALLS`; a test makes sure that no public function of the rooms of mathematics is left out.
"""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import (
    continual,
    core,
    curriculum,
    data,
    distillation,
    education,
    merging,
    metrics,
    post_training,
    ranking,
    self_supervised,
    semi_supervised,
)
from jaxlab.continual import class_order, prototype_relation, proxy_contrast, refresh
from jaxlab.curriculum import alp_gmm, cycles, federated
from jaxlab.distillation import (
    dcd,
    loss_landscape,
    mcmi,
    noise_mask,
    random_teacher,
    talking_models,
    teacher_hacking,
    tgeo_kd,
)
from jaxlab.merging import adamerging
from jaxlab.post_training import kdrl
from jaxlab.ranking import dla
from jaxlab.self_supervised import amcl, hydra, mixed_barlow_twins, sirl, sla, supremix
from jaxlab.semi_supervised import (
    dual_mean_teacher,
    ev_wsss,
    hssda,
    prototype_memory,
    rail,
    score_thresholds,
    sefar,
    sounding_maps,
    temporal_levels,
)
from tests.public import public

# Rows, classes, dtype: each is compiled once per function, then met with many values and masks.
FORMS = (
    (4, 5, "float32"),
    (4, 5, "bfloat16"),
    (1, 1, "float32"),
    (0, 2, "float32"),
    (4, 1, "float16"),
    (1, 5, "float16"),
)
VALUES = ("normal", "huge", "denormal", "zeros", "constant", "mixed")
MASKS = ("none", "all", "nothing", "some")


def _values(rng: np.random.Generator, kind: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    normal = rng.normal(size=shape)
    tiny = {"float32": 1e-40, "bfloat16": 1e-40, "float16": 6e-8}[dtype]
    made = {
        "normal": normal,
        "huge": np.sign(normal) * 1e4,
        "denormal": normal * tiny,
        "zeros": 0 * normal,
        "constant": 0 * normal + 3.0,
        "mixed": normal * 10.0 ** rng.integers(-8, 5, size=shape).clip(-8, 4),
    }[kind]
    return np.asarray(jnp.asarray(np.clip(made, -1e4, 1e4), dtype))


def _mask(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    made = {
        "none": np.ones,
        "all": np.ones,
        "nothing": np.zeros,
        "some": lambda shape: rng.random(shape) < 0.5,
    }
    return np.asarray(made[kind](shape), bool)


def _arguments(rows: int, classes: int, dtype: str, values: str, mask: str, seed: int) -> tuple[dict, dict]:
    """Floats, which gradients are taken for, and the rest."""
    rng = np.random.default_rng(seed)
    value = functools.partial(_values, rng, values, dtype=dtype)
    floats = {
        "s": value((rows, classes)),
        "t": value((rows, classes)),
        "bank": value((3, classes)),
        "v": value((rows,)),
    }
    rest = {
        "y": rng.integers(-1, classes + 1, size=rows).astype(np.int32),
        "labels3": rng.integers(-1, 4, size=rows).astype(np.int32),
        "where": _mask(rng, mask, (rows, classes)),
        "rows": _mask(rng, mask, (rows,)),
        "index": rng.integers(0, 6, size=rows).astype(np.int32),
        "negatives": rng.integers(0, 6, size=(rows, 3)).astype(np.int32),
        "rank": np.argsort(rng.random((rows, classes)), axis=1).astype(np.int32),
        "step": np.int32(rng.integers(0, 100)),
    }
    return floats, rest


def _crd(a):
    state = distillation.crd_init(jax.random.key(0), 6, a["s"].shape[1])
    return distillation.crd_loss(state, a["s"], a["t"], a["index"], a["negatives"], where=a["rows"])


def _queue(a):
    queue = core.queue_push(core.queue_init(5, a["s"].shape[1]), a["s"], labels=a["y"], where=a["rows"])
    return core.queue_items(queue)


def _bank(a):
    means, mass = core.class_means(
        a["s"], a["labels3"], num_classes=3, weights=jnp.abs(a["v"]), where=a["rows"]
    )
    bank = core.bank_init(3, a["s"].shape[1])
    for _ in range(2):
        bank = core.bank_update(bank, means, mass, decay=0.9)
    return bank


def _ema(a):
    state = core.ema_init({"w": a["s"]}, zero=True)
    state = core.ema_update(state, {"w": a["t"]}, 0.99)
    return core.ema_value(state)["w"]


def _masked(name):
    return lambda a: getattr(core, name)(a["s"], where=a["where"], axis=-1)


def _pair(name, room=core):
    return lambda a: getattr(room, name)(a["s"], a["t"], classes=a["where"])


def _where(name, room=core):
    return lambda a: getattr(room, name)(a["s"], a["t"], where=a["where"])


CALLS = {
    **{name: _masked(name) for name in ("masked_sum", "masked_mean", "masked_var", "masked_std", "masked_max",
       "masked_softmax", "masked_log_softmax", "masked_logsumexp")},
    **{name: _pair(name) for name in ("forward_kl", "reverse_kl", "jsd", "total_variation")},
    **{name: _pair(name, distillation) for name in ("kd_loss", "dist_loss", "inter_class_loss", "intra_class_loss")},
    "pearson": _where("pearson"),
    "hint_loss": _where("hint_loss", distillation),
    "as_float": lambda a: core.as_float(a["s"]) * 1e6 if a["s"].dtype == jnp.float16 else core.as_float(a["s"]),
    "entropy": lambda a: core.entropy(a["s"], classes=a["where"]),
    "cross_entropy": lambda a: core.cross_entropy(a["s"], a["y"], classes=a["where"]),
    "accuracy": lambda a: metrics.accuracy(a["s"], a["y"], where=a["rows"]),
    "top_k_accuracy": lambda a: metrics.top_k_accuracy(a["s"], a["y"], k=1, where=a["rows"]),
    "expected_calibration_error": lambda a: metrics.expected_calibration_error(a["s"], a["y"], where=a["rows"]),
    "cosine_similarity": lambda a: core.cosine_similarity(a["s"], a["t"]),
    "normalize": lambda a: core.normalize(a["s"]),
    "class_means": lambda a: core.class_means(a["s"], a["labels3"], num_classes=3, where=a["rows"]),
    "bank_update": _bank,
    "prototype_logits": lambda a: core.prototype_logits(a["s"], a["bank"]),
    "exchange": lambda a: core.exchange(a["s"], a["t"], jnp.eye(a["s"].shape[1]), jnp.eye(a["s"].shape[1])),
    "queue_push": _queue,
    "ema_update": _ema,
    "sigmoid_ramp_up": lambda a: core.sigmoid_ramp_up(a["step"], length=0) + core.sigmoid_ramp_up(a["step"], length=50),
    "linear_ramp_up": lambda a: core.linear_ramp_up(a["step"], length=0) + core.linear_ramp_up(a["step"], length=50),
    "cosine_ramp_down": lambda a: core.cosine_ramp_down(a["step"], length=0)
    + core.cosine_ramp_down(a["step"], length=50),
    "constant_decay": lambda a: core.constant_decay(0.9)(a["step"]),
    "ramp_up_decay": lambda a: core.ramp_up_decay(0.999)(a["step"]),
    "dkd_loss": lambda a: distillation.dkd_loss(a["s"], a["t"], a["y"], classes=a["where"]),
    "binary_kl": lambda a: distillation.binary_kl(a["s"], a["t"], classes=a["where"]),
    "binary_kl_norm": lambda a: distillation.binary_kl_norm(a["s"], a["t"], classes=a["where"]),
    "align_gradients": lambda a: core.align_gradients([a["s"], a["v"]], [a["t"], a["v"]]),
    "nd_loss": lambda a: distillation.nd_loss(a["s"], a["t"], a["labels3"], a["bank"], where=a["rows"]),
    "direction_loss": lambda a: distillation.direction_loss(a["s"], a["labels3"], a["bank"], where=a["rows"]),
    "norm_loss": lambda a: distillation.norm_loss(a["s"], a["t"], where=a["rows"]),
    "target_class_kl": lambda a: distillation.target_class_kl(a["s"], a["t"], a["y"], classes=a["where"]),
    "non_target_class_kl": lambda a: distillation.non_target_class_kl(a["s"], a["t"], a["y"], classes=a["where"]),
    "crd_loss": _crd,
    "pld_loss": lambda a: distillation.pld_loss(a["s"], a["t"], a["y"], classes=a["where"]),
    "pld_first_weight": lambda a: distillation.pld_first_weight(a["t"], a["y"]),
    "teacher_optimal_ranking": lambda a: distillation.teacher_optimal_ranking(a["t"], a["y"]),
    "listmle_loss": lambda a: distillation.listmle_loss(a["s"], a["rank"], classes=a["where"]),
    "plackett_luce_nll": lambda a: distillation.plackett_luce_nll(
        a["s"], a["rank"], jax.nn.softmax(a["t"].astype(jnp.float32)), classes=a["where"]
    ),
    "crop_flip": lambda a: data.crop_flip(a["s"][:, :, None, None], jax.random.key(0), pad=2),
    "multi_positive_cross_entropy": lambda a: [
        core.multi_positive_cross_entropy(a["s"], a["where"], a["rows"][:, None], positives_compete=compete)
        for compete in (True, False)
    ],
    "nt_xent": lambda a: core.nt_xent(a["s"], a["t"], temperature=0.1, where=a["rows"]),
    "supcon_loss": lambda a: core.supcon_loss(a["s"], a["labels3"], where=a["rows"]),
}  # fmt: skip
FOUNDATIONS = frozenset(CALLS)  # the families below stand on them


def _tokens(name):
    """Of policy, reference and mask per token."""
    call = getattr(post_training, name)
    return lambda a: call(a["s"], a["t"], where=a["where"])


def _responses(name):
    """Of a reward and a group per response."""
    call = getattr(post_training, name)
    return lambda a: call(a["s"][:, 0], a["y"], where=a["rows"])


def _ratio(a):
    return post_training.token_importance_ratio(a["s"], a["t"], where=a["where"])


def _rewarded(name):
    """Of a ratio, an advantage and a mask."""
    return lambda a: getattr(post_training, name)(_ratio(a), a["v"], where=a["where"])


POST_TRAINING = {
    **{name: _tokens(name) for name in ("token_importance_ratio", "sequence_importance_ratio", "kl_estimate",
       "kd_reward", "kd_rkl", "truncated_importance_weight", "masked_importance_weight")},
    **{name: _responses(name) for name in ("group_statistics", "grpo_advantage", "dr_grpo_advantage",
       "rloo_advantage", "gpg_advantage", "pass_at_k_advantage", "dynamic_sampling_weights", "maxrl_advantage")},
    **{name: _rewarded(name) for name in ("ppo_clip_loss", "gpg_loss", "clip_fraction", "dual_clip_fraction",
       "sapo_loss")},
    "opo_advantage": lambda a: post_training.opo_advantage(a["s"][:, 0], a["index"], a["y"], where=a["rows"]),
    "kd_keep_mask": lambda a: kdrl.kd_keep_mask(a["s"][:, 0] > 0, a["y"], mode="group", where=a["rows"]),
    "reinforce_pp_baseline_advantage": lambda a: post_training.reinforce_pp_baseline_advantage(
        a["s"][:, 0], a["y"], a["where"]
    ),
    "reinforce_pp_advantage": lambda a: post_training.reinforce_pp_advantage(a["s"], a["where"]),
    "remax_advantage": lambda a: post_training.remax_advantage(a["s"], a["v"], a["where"]),
    "returns_to_go": lambda a: post_training.returns_to_go(a["s"], a["where"], gamma=0.9),
    "whiten": lambda a: post_training.whiten(a["s"], a["where"]),
    "top_entropy_mask": lambda a: post_training.top_entropy_mask(a["s"], a["where"]),
    "geometric_importance_ratio": lambda a: post_training.geometric_importance_ratio(
        a["s"], a["t"], a["v"], where=a["where"]
    ),
    "vespo_loss": lambda a: post_training.vespo_loss(a["s"], a["t"], a["v"], where=a["where"]),
    "gdpo_advantage": lambda a: post_training.gdpo_advantage(a["s"], a["y"], where=a["rows"]),
    "adaptive_entropy": lambda a: post_training.adaptive_entropy(0.5, a["s"]),
    "mixture_log_probs": lambda a: post_training.mixture_log_probs(
        jnp.stack([a["s"], a["t"]]), weights=jnp.array([1.0, 0.0]), where=a["where"]
    ),
    "off_policy_sequence_mask": lambda a: post_training.off_policy_sequence_mask(
        a["s"], a["t"], a["v"], threshold=0.1, where=a["where"]
    ),
    "dppo_mask": lambda a: [
        post_training.dppo_mask(a["s"], a["t"], a["v"], divergence=divergence, where=a["where"])
        for divergence in ("tv", "kl")
    ],
    "score_centering": lambda a: [
        post_training.score_centering(a["s"][None], a["t"][None], weight=weight, where=a["rows"][None])
        for weight in (None, "truncated", "masked")
    ],
    "gmpo_loss": lambda a: post_training.gmpo_loss(a["s"], a["t"], a["v"], where=a["where"]),
    "cispo_loss": lambda a: post_training.cispo_loss(a["s"], _ratio(a), a["v"], where=a["where"]),
    "aggregate": lambda a: [
        post_training.aggregate(a["s"], a["where"], mode=mode)
        for mode in ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "constant")
    ],
    "kl_in_reward": lambda a: post_training.kl_in_reward(a["s"], a["s"], a["t"], beta=0.1, where=a["where"]),
    "overlong_penalty": lambda a: post_training.overlong_penalty(a["s"], max_length=100, buffer=20),
    "pass_at_k": lambda a: post_training.pass_at_k(a["index"], a["s"][:, 0] > 0, 2),
    "avg_at_n": lambda a: post_training.avg_at_n(a["s"] > 0, where=a["where"]),
    "kdrl_loss": lambda a: kdrl.kdrl_loss(a["s"], a["t"], a["t"], a["v"], a["where"], keep=a["rows"]),
    "kd_shaped_advantage": lambda a: kdrl.kd_shaped_advantage(a["v"], a["s"], a["t"], where=a["where"]),
    "annealed_beta": lambda a: kdrl.annealed_beta(a["step"]),
    "exact_reverse_kl": lambda a: post_training.exact_reverse_kl(a["s"], a["t"], where=a["rows"]),
}  # fmt: skip
CALLS |= POST_TRAINING


def _soft(x):
    return jax.nn.softmax(x.astype(jnp.float32))


def _centroids(a):
    return mcmi.class_centroids(_soft(a["s"]), a["y"], where=a["rows"])


def _trilateral(a):
    means = tgeo_kd.class_mean_teacher(_soft(a["t"]), a["y"], where=a["rows"])
    state = tgeo_kd.trilateral_state(_soft(a["s"]), _soft(a["t"]), a["y"], means)
    controller = tgeo_kd.fusion_controller_init(jax.random.key(0), a["s"].shape[1], hidden=(3,))
    return tgeo_kd.fusion_ratio(controller, state)


TEACHERS = {
    "class_centroids": _centroids,
    "ema_centroids": lambda a: mcmi.ema_centroids(
        jnp.eye(a["t"].shape[1]), _soft(a["s"]), a["y"], decay=0.5, min_count=1, where=a["rows"]
    ),
    "cmi_terms": lambda a: mcmi.cmi_terms(a["s"], a["y"], jnp.eye(a["t"].shape[1]) / 2, classes=a["where"]),
    "mcmi_loss": lambda a: mcmi.mcmi_loss(a["s"], a["y"], jnp.eye(a["t"].shape[1]), classes=a["where"]),
    "matching_temperature": lambda a: mcmi.matching_temperature(a["s"], a["t"]),
    "class_mean_teacher": lambda a: tgeo_kd.class_mean_teacher(_soft(a["s"]), a["y"], where=a["rows"]),
    "trilateral_state": _trilateral,
    "fusion_ratio": _trilateral,
    "fused_kd_loss": lambda a: [
        tgeo_kd.fused_kd_loss(
            a["s"],
            a["t"],
            a["y"],
            jax.nn.sigmoid(core.as_float(a["v"])),
            double_softmax=double,
            classes=a["where"],
        )
        for double in (False, True)
    ],
}
CALLS |= TEACHERS


def _students(a):
    """Two students of one-pixel images, their memories half full."""
    dim = a["s"].shape[1]
    queues = prototype_memory.class_queues_init(dim, 4, dim)
    made, valid = prototype_memory.region_prototypes(
        a["t"], _soft(a["s"]), a["where"], threshold=0.1, min_mass=0.0
    )
    queues = prototype_memory.class_queues_push(queues, made, valid)
    pixels = lambda x: x[:, None, None]
    branch = lambda logits, features: ev_wsss.EvWsssBranch(
        pixels(logits), (pixels(features),), ((jnp.eye(dim), jnp.zeros(dim)),), queues
    )
    return branch(a["s"], a["t"]), branch(a["t"], a["s"])


def _ev_wsss(a):
    labels, where = jnp.asarray(a["y"])[:, None, None], a["rows"][:, None, None]
    options = {"where": where, "min_items": 0, "min_mass": 0.1, "threshold": 0.1}
    ours = ev_wsss.ev_wsss_loss(*_students(a), labels, **options)
    return ours[:2], ev_wsss.ev_wsss_loss(*_students(a), labels, authors_code=True, **options)[0]


def _exchange_loss(a):
    pseudo = semi_supervised.pseudo_label(_soft(core.prototype_logits(a["s"], a["bank"])), threshold=0.4)
    own = (a["bank"], jnp.array([True, False, True]))
    return ev_wsss.prototype_exchange_loss(a["t"], pseudo, own, own)


def _rail(a):
    z = jnp.stack([a["s"], a["t"]], axis=-1)
    labels = (jnp.asarray(a["where"])).astype(jnp.int32)
    weights = {"is_best": False, "consistency_weight": 20.0, "teacher_weight": 10.0}
    return rail.rail_student_loss(z, labels, z, -z, -z, z[..., ::-1], **weights)


def _overlap(a):
    return metrics.class_overlap(
        jnp.argmax(a["s"], -1), jnp.argmax(a["t"], -1), num_classes=3, where=a["rows"]
    )


DENSE = {
    "region_prototypes": lambda a: prototype_memory.region_prototypes(
        a["s"], _soft(a["t"]), a["where"], threshold=0.1, min_mass=0.0, where=a["rows"]
    ),
    "class_queues_push": lambda a: prototype_memory.class_queue_means(_students(a)[0].queues, min_items=0),
    "prototype_cross_entropy": lambda a: prototype_memory.prototype_cross_entropy(
        a["s"], a["labels3"], a["bank"], seen=jnp.array([1, 0, 1]), where=a["rows"]
    ),
    "feature_distance": lambda a: prototype_memory.feature_distance(a["s"], a["t"], where=a["rows"]),
    "class_overlap": _overlap,
    "mean_overlap": lambda a: metrics.mean_overlap(_overlap(a)),
    "dice_score": lambda a: metrics.dice_score(a["s"] > 0, a["t"] > 0, where=a["where"]),
    "classes_in_labels": lambda a: ev_wsss.classes_in_labels(
        jnp.argsort(a["t"], axis=-1), num_classes=3, where=a["s"] > 0
    ),
    "ev_wsss_loss": _ev_wsss,
    "prototype_exchange_loss": _exchange_loss,
    "disagreement_mask": lambda a: rail.disagreement_mask(a["s"] > 0, a["t"] > 0, where=a["where"]),
    "best_student": lambda a: rail.best_student(semi_supervised.dice_loss(_soft(a["s"]), a["t"] > 0)),
    "dice_loss": lambda a: semi_supervised.dice_loss(_soft(a["s"]), a["t"] > 0, where=a["where"]),
    "sharpen": lambda a: semi_supervised.sharpen(_soft(a["s"])),
    "disagreement_supervision_loss": lambda a: rail.disagreement_supervision_loss(
        a["s"], a["y"], jnp.argmax(a["t"], -1), where=a["rows"]
    ),
    "confidence_restraint_loss": lambda a: rail.confidence_restraint_loss(
        a["s"], jnp.argmax(a["t"], -1), where=a["rows"]
    ),
    "rail_student_loss": _rail,
    "warm_up_constant_cosine": lambda a: semi_supervised.warm_up_constant_cosine(
        a["step"], warm_up=0, total=50
    ),
}
CALLS |= DENSE


def _partner(a):
    return jnp.argsort(a["index"])


def _passes(a):
    return jnp.stack([a["s"], a["t"]])


def _curriculum(a):
    state = semi_supervised.curriculum_init(6)
    state = semi_supervised.curriculum_update(
        state, _soft(a["s"]), a["index"], threshold=0.4, where=a["rows"]
    )
    return semi_supervised.curriculum_thresholds(state, num_classes=a["s"].shape[1])


def _adaptive(a):
    state = semi_supervised.adaptive_init(a["t"].shape[1])
    state = semi_supervised.adaptive_update(state, _soft(a["s"]), decay=0.5, where=a["rows"])
    return state, semi_supervised.adaptive_thresholds(state)


def _levels(a):
    rows, frames = a["t"].shape
    indices = temporal_levels.dual_level_indices(jax.random.key(0), jnp.full(rows, frames))
    return temporal_levels.take_levels(a["s"], indices)


FEW_LABELS = {
    "class_filtered_probs": lambda a: semi_supervised.class_filtered_probs(_soft(a["s"]), a["where"]),
    "pseudo_label": lambda a: semi_supervised.pseudo_label(
        _soft(a["s"]), threshold=jnp.full(a["t"].shape[1], 0.4)
    ),
    "pseudo_label_quality": lambda a: semi_supervised.pseudo_label_quality(
        semi_supervised.pseudo_label(_soft(a["s"]), threshold=0.4), a["y"], where=a["rows"]
    ),
    "masked_cross_entropy": lambda a: semi_supervised.masked_cross_entropy(a["s"], a["y"], where=a["rows"]),
    "consistency_mse": lambda a: semi_supervised.consistency_mse(a["s"], a["t"], where=a["rows"]),
    "consistency_kl": lambda a: semi_supervised.consistency_kl(a["s"], a["t"], where=a["rows"]),
    "unlabelled_fraction": lambda a: semi_supervised.unlabelled_fraction(a["s"] > 0, where=a["where"]),
    "curriculum_update": _curriculum,
    "curriculum_thresholds": _curriculum,
    "adaptive_update": _adaptive,
    "adaptive_thresholds": _adaptive,
    "teacher_stats": lambda a: sefar.teacher_stats(_passes(a)),
    "adaptive_weight": lambda a: sefar.adaptive_weight(_soft(a["s"]).max(-1), jnp.abs(a["v"])),
    "mixed_target_loss": lambda a: sefar.mixed_target_loss(
        a["s"], _soft(a["t"]), a["v"], _partner(a), 0.4, where=a["rows"]
    ),
    "sefar_loss": lambda a: sefar.sefar_loss(
        a["s"], a["y"], a["t"], a["s"], _passes(a), _partner(a), 0.4, 0.7, where=a["rows"]
    ),
    "sine_ramp_up": lambda a: sefar.sine_ramp_up(a["step"], warm_up=5, total=50),
    "dual_level_indices": _levels,
    "take_levels": _levels,
    "moderate_perturb": lambda a: temporal_levels.moderate_perturb((a["s"], a["t"])),
    "shuffle_levels": lambda a: temporal_levels.shuffle_levels(jax.random.key(0), (a["s"], a["t"])),
    "tube_mask": lambda a: temporal_levels.tube_mix(
        a["s"][:, None],
        _partner(a),
        temporal_levels.tube_mask(jax.random.key(0), a["t"].shape[1], 0.5),
    ),
    "tube_mix": lambda a: temporal_levels.tube_mix(
        a["s"][:, None], _partner(a), jnp.arange(a["t"].shape[1]) % 2
    ),
    "random_affine": lambda a: data.random_affine(a["s"][:, :, None, None], jax.random.key(0), shift=0.2),
    "cutout": lambda a: data.cutout(a["s"][:, :, None, None], jax.random.key(0), size=1),
}
CALLS |= FEW_LABELS


def _boxes(a, *more):
    """Boxes from numbers of any size: `[R, 4]`, or `[R, 5]` with headings."""
    wide = [core.as_float(a[name])[:, 0] for name in ("s", "t")]
    return jnp.stack([*wide, *(jnp.abs(x) for x in wide), *more], axis=-1)


def _turned(a):
    return _boxes(a, core.as_float(a["v"]))


def _frames(a, name="s"):
    return jax.nn.sigmoid(core.as_float(a[name]))[:, None, :]


def _three(a):
    return _soft(jnp.stack([a["s"][:, 0], a["t"][:, 0], a["v"]], axis=-1))


def _stored(a):
    store = hssda.store_init(3, 2)
    return hssda.store_append(
        store, a["index"], _boxes(a)[:, None], a["y"][:, None], where=a["rows"][:, None]
    )


def _detected(a):
    own = jnp.arange(a["s"].shape[1])[None] % 3
    return metrics.mean_average_precision(
        _soft(a["s"])[None], a["v"][None], a["labels3"][None], own, num_classes=3, where=a["rows"][None]
    )


SCENES = {
    "audio_visual_map": lambda a: sounding_maps.audio_visual_map(
        a["s"][:, None, None], a["t"], temperature=0.1
    ),
    "audio_visual_contrastive": lambda a: sounding_maps.audio_visual_contrastive(
        a["s"][:, None, None], a["t"], where=a["rows"]
    ),
    "pixel_cross_entropy": lambda a: sounding_maps.pixel_cross_entropy(
        _frames(a), _frames(a, "t"), where=a["where"][:, None]
    ),
    "box_map": lambda a: sounding_maps.box_map(_boxes(a), height=2, width=3),
    "teacher_consensus": lambda a: dual_mean_teacher.teacher_consensus(_frames(a), _frames(a, "t")),
    "dual_teacher_loss": lambda a: dual_mean_teacher.dual_teacher_loss(
        _frames(a), _frames(a, "t"), _frames(a, "t"), _frames(a), a["v"] > 0, where=a["rows"]
    ),
    "min_max_normalize": lambda a: sounding_maps.min_max_normalize(a["s"][:, None]),
    "consensus_iou": lambda a: metrics.consensus_iou(_frames(a), _frames(a, "t")),
    "localization_success": lambda a: metrics.localization_success(a["v"], where=a["rows"]),
    "localization_auc": lambda a: metrics.localization_auc(a["v"], where=a["rows"]),
    "axis_aligned_iou": lambda a: semi_supervised.axis_aligned_iou(_boxes(a), _boxes(a)[::-1]),
    "bev_iou": lambda a: semi_supervised.bev_iou(_turned(a), _turned(a)[::-1]),
    "points_in_boxes": lambda a: semi_supervised.points_in_boxes(_boxes(a), _turned(a), where=a["rows"]),
    "transform_points": lambda a: semi_supervised.transform_points(
        _boxes(a), flip=True, rotation=0.3, scale=2.0
    ),
    "transform_boxes": lambda a: semi_supervised.transform_boxes(
        _turned(a), flip=True, rotation=0.3, scale=2.0
    ),
    "two_means": lambda a: score_thresholds.two_means(a["s"], where=a["where"]),
    "truncate": lambda a: score_thresholds.truncate(_soft(a["s"])),
    "dual_thresholds": lambda a: score_thresholds.dual_thresholds(
        _soft(a["s"]), a["y"], num_classes=3, where=a["rows"], default=jnp.zeros((a["t"].shape[1], 2))
    ),
    "box_levels": lambda a: hssda.box_levels(
        a["s"], a["labels3"], jnp.stack([a["bank"], a["bank"]], axis=-1), where=a["rows"]
    ),
    "hierarchical_supervision": lambda a: hssda.hierarchical_supervision(
        _three(a), a["labels3"], jnp.full((3, 3, 2), 0.3), label_overlap=jax.nn.relu(a["v"]), where=a["rows"]
    ),
    "store_append": _stored,
    "linear_keep_rate": lambda a: hssda.linear_keep_rate(a["step"], length=50),
    "match_detections": lambda a: metrics.match_detections(_soft(a["s"]), a["v"], allowed=a["where"]),
    "average_precision": lambda a: metrics.average_precision(a["v"], a["y"] > 0, 3, where=a["rows"]),
    "mean_average_precision": _detected,
    "shuffle_quadrants": lambda a: data.shuffle_quadrants(_boxes(a), jnp.array([1, 0, 3, 2])),
}
CALLS |= SCENES


def _landscape(a):
    total = lambda x: jnp.sum(core.as_float(x))
    return loss_landscape.line_losses(total, a["s"], a["t"], jnp.array([0.0, 0.5]))


def _plane(a):
    total, at = lambda x: jnp.sum(core.as_float(x)), jnp.array([0.0, 1.0])
    return loss_landscape.plane_losses(total, a["s"], a["t"], a["s"], at, at)


def _cells(a):
    return jnp.broadcast_to(core.as_float(a["v"])[:, None], (len(a["v"]), 4))


UNTRAINED_AND_MASKED = {
    "soft_cross_entropy": lambda a: random_teacher.soft_cross_entropy(a["s"], a["t"], classes=a["where"]),
    "local_init": lambda a: random_teacher.local_init({"w": a["s"]}, {"w": a["t"]}, alpha=0.3),
    "line_losses": _landscape,
    "plane_losses": _plane,
    "mix_base": lambda a: noise_mask.mix_base(a["bank"][0], a["s"]),
    "update_base": lambda a: noise_mask.update_base(a["bank"][0], a["s"], where=a["rows"]),
    "beta_log_prob": lambda a: noise_mask.beta_log_prob(_soft(a["s"]), a["t"], a["s"]),
    "sample_mask": lambda a: noise_mask.sample_mask(jax.random.key(0), a["s"], a["t"]),
    "render_mask": lambda a: noise_mask.render_mask(_cells(a), size=4, kernel=3, sigma=1.0),
    "released_mask_loss": lambda a: noise_mask.released_mask_loss(a["s"], a["v"], where=a["rows"]),
    "reinforce_mask_loss": lambda a: noise_mask.reinforce_mask_loss(
        a["s"], a["v"], baseline=0.5, where=a["rows"]
    ),
}
CALLS |= UNTRAINED_AND_MASKED

REPRESENTATIONS = {
    "standardize": lambda a: metrics.standardize(a["s"], a["t"], where=a["rows"]),
    "linear_probe": lambda a: metrics.linear_probe(
        a["t"], a["labels3"], a["s"], num_classes=3, steps=2, where=a["rows"]
    ),
    "knn_probe": lambda a: metrics.knn_probe(
        a["t"], a["labels3"], a["s"], num_classes=3, neighbors=2, where=a["rows"]
    ),
    "ridge_probe": lambda a: metrics.ridge_probe(a["t"], a["v"], a["s"], where=a["rows"]),
    "alignment": lambda a: metrics.alignment(a["s"], a["t"], where=a["rows"]),
    "uniformity": lambda a: metrics.uniformity(a["s"], where=a["rows"]),
    "effective_rank": lambda a: metrics.effective_rank(a["s"], where=a["rows"]),
    "standardize_batch": lambda a: [
        core.standardize_batch(a["s"], ddof=ddof, eps=eps, where=a["rows"])
        for ddof, eps in ((0, 1e-5), (1, 0.0))
    ],
    "cross_correlation": lambda a: core.cross_correlation(a["s"], a["t"], where=a["rows"]),
    "barlow_twins_loss": lambda a: [
        self_supervised.barlow_twins_loss(a["s"], a["t"], ddof=ddof, eps=eps, where=a["rows"])
        for ddof, eps in ((0, 1e-5), (1, 0.0))
    ],
    "random_views": lambda a: data.random_views(
        a["s"][:, :, None, None], jax.random.key(0), shift=0.2, gain=0.3, noise=0.1, hole=1
    ),
}
CALLS |= REPRESENTATIONS


def _gate(a):
    params = hydra.pair_gate_init(
        jax.random.key(0), num_classes=3, dim=a["t"].shape[1], embedding=4, hidden=3
    )
    gates = hydra.pair_gate(params, a["labels3"], a["labels3"][::-1], where=a["rows"])
    return hydra.gated_cosine(a["s"], a["bank"], gates)


def _gated(a):
    gate = jnp.abs(core.as_float(a["t"])).clip(0, 1)
    return [
        hydra.gated_positive_loss(
            a["s"], gate, a["index"], a["index"][::-1], normalize_after=after, where=a["rows"]
        )
        for after in (True, False)
    ]


def _adaptive_heads(a):
    dim = a["t"].shape[1]
    params = amcl.pair_temperature_init(jax.random.key(0), dim=dim, hidden=3, heads=1)
    by_pair = functools.partial(amcl.pair_temperature, params)
    return [
        amcl.adaptive_multi_head_loss(a["s"][None], a["t"][None], by_pair, against=against, where=a["rows"])
        for against in ("hardest", "all")
    ]


def _mixtures(a):
    rows = len(a["t"])
    options = {"window": 3.0, "where": a["rows"]}
    return supremix.hard_mixture_loss(a["s"], a["index"] * 1.0, jnp.full((rows, rows), 0.2), **options)


def _mixed_views(a):
    partner, options = jnp.arange(len(a["t"]))[::-1], {"share": 0.3, "where": a["rows"]}
    mixed = mixed_barlow_twins.mix_samples(
        core.as_float(a["s"]), core.as_float(a["t"]), share=0.3, partner=partner
    )
    return mixed_barlow_twins.mixed_barlow_twins_loss(a["s"], a["t"], mixed, partner=partner, **options)


def _joint_logits(a):
    """Of two copies, two joint columns per class."""
    return jnp.repeat(jnp.repeat(core.as_float(a["s"]), 2, axis=0), 2, axis=1)


def _joint(a):
    return sla.self_distilled_loss(_joint_logits(a), a["t"], a["y"], copies=2, where=a["rows"])


def _aligned(name):
    return lambda a: getattr(sla, name)(_joint_logits(a), copies=2)


def _views(name):
    return lambda a: getattr(self_supervised, name)(jnp.stack([a["s"], a["t"], a["s"]]), where=a["rows"])


def _predicted(name):
    call = getattr(self_supervised, name)
    return lambda a: call(a["s"], a["t"], a["t"], a["s"], where=a["rows"])


VIEWS_AND_ANSWERS = {
    **{name: _views(name) for name in (
        "mv_infonce", "mv_dhel", "pairwise_nt_xent", "pairwise_dhel", "multi_positive_nt_xent", "poly_view_loss",
        "mean_view_contrast")},
    **{name: _predicted(name) for name in ("byol_loss", "simsiam_loss")},
    **{name: _adaptive_heads for name in ("adaptive_multi_head_loss", "pair_temperature", "pair_temperature_init")},
    **{name: _gate for name in ("pair_gate", "pair_gate_init", "gated_cosine")},
    **{name: _mixed_views for name in ("mix_samples", "mixed_barlow_twins_loss")},
    **{name: _aligned(name) for name in ("aggregate_logits", "single_logits")},
    "gated_positive_loss": _gated,
    "hard_mixture_loss": _mixtures,
    "self_distilled_loss": _joint,
    "joint_label_loss": lambda a: sla.joint_label_loss(
        _joint_logits(a), a["y"], copies=2, where=a["rows"]
    ),
    "joint_labels": lambda a: sla.joint_labels(a["y"], copies=3),
    "dhel": lambda a: self_supervised.dhel(a["s"], a["t"], where=a["rows"]),
    "temperature_penalty": lambda a: amcl.temperature_penalty(_soft(a["s"]) + 1e-3, dim=4),
    "dino_loss": lambda a: self_supervised.dino_loss(
        jnp.stack([a["s"], a["t"], a["s"]]), jnp.stack([a["t"], a["s"]]), a["bank"][0], where=a["rows"]
    ),
    "dino_center_update": lambda a: self_supervised.dino_center_update(
        a["bank"][0], jnp.stack([a["s"], a["t"]]), where=a["rows"]
    ),
    "vicreg_loss": lambda a: self_supervised.vicreg_loss(a["s"], a["t"], where=a["rows"]),
    "triplet_similarity_loss": lambda a: sirl.triplet_similarity_loss(
        a["s"], a["t"], a["s"][::-1], where=a["rows"]
    ),
    "preference_loss": lambda a: sirl.preference_loss(
        a["s"][:, 0], a["v"], jax.nn.sigmoid(core.as_float(a["t"])[:, 0]), where=a["rows"]
    ),
    "transformed_copies": lambda a: data.transformed_copies(a["s"][:, :, None, None], turns=(0, 2)),
}  # fmt: skip
CALLS |= VIEWS_AND_ANSWERS


def _ranked(name):
    call = getattr(metrics, name)
    return lambda a: call(a["s"][:, 0], a["v"], where=a["rows"], undefined=0.0)


def _two(a):
    return jnp.asarray(a["index"]) % 2


def _shown(test):
    """What is finite whatever comes in: a difference where nothing scatters is infinitely many errors away from 0."""
    return test.estimate, test.p_value


MEASUREMENTS = {
    **{name: _ranked(name) for name in ("spearman", "kendall_tau")},
    "average_ranks": lambda a: metrics.average_ranks(a["s"][:, 0], where=a["rows"]),
    "roc_auc": lambda a: metrics.roc_auc(a["s"][:, 0], a["index"] > 2, where=a["rows"], undefined=0.5),
    "cohen_kappa": lambda a: metrics.cohen_kappa(
        a["labels3"], a["labels3"][::-1], num_classes=3, weights="linear", where=a["rows"], undefined=0.0
    ),
    "fleiss_kappa": lambda a: metrics.fleiss_kappa(
        a["negatives"], num_classes=6, where=a["rows"][:, None], undefined=0.0
    ),
    "krippendorff_alpha": lambda a: metrics.krippendorff_alpha(
        a["negatives"], num_classes=6, weights="quadratic", where=a["rows"][:, None], undefined=0.0
    ),
    "intraclass_correlation": lambda a: [
        metrics.intraclass_correlation(a["s"], kind=kind, where=a["where"], undefined=0.0)
        for kind in metrics.ICC_KINDS
    ],
    "cronbach_alpha": lambda a: metrics.cronbach_alpha(a["s"], where=a["where"], undefined=0.0),
    "t_test": lambda a: _shown(metrics.t_test(a["s"][:, 0], _two(a), where=a["rows"])),
    "paired_t_test": lambda a: _shown(metrics.paired_t_test(a["v"], a["s"][:, 0], where=a["rows"])),
    "anova": lambda a: metrics.anova(a["s"][:, 0], a["index"], num_groups=6, where=a["rows"])[3:],
    "linear_regression": lambda a: _shown(metrics.linear_regression(a["s"], a["v"], where=a["rows"])),
    "ancova": lambda a: _shown(metrics.ancova(a["v"], a["s"][:, 0], _two(a), where=a["rows"])),
    "cohen_d": lambda a: metrics.cohen_d(a["s"][:, 0], _two(a), where=a["rows"]),
    "equivalence_p_value": lambda a: metrics.equivalence_p_value(
        metrics.t_test(a["s"][:, 0], _two(a), equal_variances=True, where=a["rows"]), 0.5
    ),
    "mann_whitney": lambda a: metrics.mann_whitney(a["s"][:, 0], _two(a), where=a["rows"]),
    "kolmogorov_smirnov": lambda a: metrics.kolmogorov_smirnov(a["s"][:, 0], _two(a), where=a["rows"]),
    "wasserstein_distance": lambda a: metrics.wasserstein_distance(a["s"][:, 0], _two(a), where=a["rows"]),
    "chi_squared_test": lambda a: metrics.chi_squared_test(jnp.abs(a["s"])),
    "signed_rank_test": lambda a: metrics.signed_rank_test(a["v"], a["s"][:, 0], where=a["rows"]),
    "correlation_p_value": lambda a: metrics.correlation_p_value(jnp.tanh(core.as_float(a["s"])), 5),
    "correlation_interval": lambda a: metrics.correlation_interval(jnp.tanh(core.as_float(a["s"])), 5),
    "grade_agreement": lambda a: education.grade_agreement(
        a["v"], a["s"][:, 0], where=a["rows"], undefined=0.0
    ),
    "aggregate_peers": lambda a: education.aggregate_peers(a["s"], where=a["where"])[0],
    "mixed_anova": lambda a: education.mixed_anova(a["v"], a["s"][:, 0], _two(a), where=a["rows"])[3:],
    "paired_effects": lambda a: education.paired_effects(a["v"], a["s"][:, 0], where=a["rows"]),
    "bert_score": lambda a: education.bert_score(
        a["s"][:, None], a["t"][:, None], a["rows"][:, None], a["rows"][:, None]
    ),
}
CALLS |= MEASUREMENTS


def _lists(name, room=ranking):
    """Of scores and grades from 0 to 4."""
    return lambda a: getattr(room, name)(a["s"], jnp.clip(core.as_float(a["t"]), 0, 4), where=a["where"])


MERGING_AND_RANKING = {
    "softmax_loss": _lists("softmax_loss"),
    "weighted_list_loss": _lists("weighted_list_loss", dla),
    **{name: _lists(name, metrics) for name in ("ndcg_at_k", "mrr")},
    "task_vector": lambda a: merging.task_vector({"w": a["s"]}, {"w": a["t"]}),
    "merge": lambda a: merging.merge({"w": a["bank"][0]}, {"w": a["s"]}, a["v"]),
    "adamerging_loss": lambda a: adamerging.adamerging_loss(jnp.stack([a["s"], a["t"]]), where=a["rows"]),
    "clip_coefficients": lambda a: adamerging.clip_coefficients({"w": a["s"], "b": a["t"]}),
    "initial_coefficients": lambda a: adamerging.initial_coefficients({"w": a["s"]}, 2),
    "ties_select": lambda a: merging.ties_select({"w": a["s"], "b": a["t"]}, keep=0.5),
    "ties_merge": lambda a: merging.ties_merge({"w": a["s"], "b": a["t"]}, keep=0.5),
    "dla_losses": lambda a: dla.dla_losses(a["s"], a["t"], a["where"], where=a["rows"][:, None]),
    "relative_weights": lambda a: dla.relative_weights(a["s"], where=a["where"]),
    "relative_examination_error": lambda a: ranking.relative_examination_error(
        a["s"], _soft(a["t"]), where=a["where"]
    ),
    "position_bias_examination": lambda a: ranking.position_bias_examination(12, eta=a["step"]),
    "click_probability": lambda a: ranking.click_probability(a["s"]),
    "trust_bias_click_probability": lambda a: ranking.trust_bias_click_probability(_soft(a["s"])),
    "sample_clicks": lambda a: ranking.sample_clicks(
        jax.random.key(0), _soft(a["s"]), _soft(a["t"]), where=a["where"]
    ),
    "sample_cascade_clicks": lambda a: ranking.sample_cascade_clicks(
        jax.random.key(0), _soft(a["s"]), where=a["where"]
    ),
    "cascade_examination": lambda a: ranking.cascade_examination(_soft(a["s"]), where=a["where"]),
}
CALLS |= MERGING_AND_RANKING


def _tree(x):
    """Next-token logits at the one prefix of answers of length 1."""
    return x[:, None]


def _speaker(width):
    return talking_models.codec_init(jax.random.key(0), width=width, message=2, hidden=3)


def _conversation(a):
    own, other = _speaker(a["s"].shape[1]), _speaker(a["t"].shape[1])
    said = talking_models.interaction_round(own, other, a["s"], jnp.tanh)
    told = talking_models.encode_message(other, a["t"])
    agreed = talking_models.message_consistency(said.sent, told, where=a["rows"])
    kept = talking_models.state_consistency(own, a["s"], where=a["rows"])
    replies = talking_models.decode_message(own, said.reply)
    return talking_models.talking_loss(a["v"], replies, agreed, kept, where=a["rows"])


def _pairs(a):
    index = dcd.select_hard(a["t"], num_negatives=a["t"].shape[1] // 2)
    scores, wise = a["s"][:, : index.shape[1]], dcd.scores_of(a["t"], index)
    return [dcd.dcd_loss(scores, wise, dynamic=dynamic, where=a["rows"]) for dynamic in (True, False)]


IMPERFECT_TEACHERS = {
    "sequence_kl": lambda a: teacher_hacking.sequence_kl(_tree(a["s"]), _tree(a["t"]), where=a["rows"][:, None]),
    "token_forward_kl": lambda a: teacher_hacking.token_forward_kl(a["s"], a["t"], where=a["rows"]),
    "hacking_score": lambda a: teacher_hacking.hacking_score(a["s"]),
    "power_law_fit": lambda a: teacher_hacking.power_law_fit(jnp.abs(a["t"]), a["s"], where=a["where"]),
    **{name: _conversation for name in ("codec_init", "encode_message", "decode_message", "interaction_round",
       "message_consistency", "state_consistency", "talking_loss")},
    **{name: _pairs for name in ("select_hard", "scores_of", "dcd_loss")},
    "entropy_weights": lambda a: dcd.entropy_weights(a["t"], where=a["rows"]),
    "recall_at_k": lambda a: metrics.recall_at_k(core.prototype_logits(a["s"], a["t"])),
}  # fmt: skip
CALLS |= IMPERFECT_TEACHERS


def _memory(a):
    memory = continual.reservoir_init(6, {"x": jnp.zeros(a["s"].shape[1]), "label": jnp.int32(0)})
    batch = {"x": a["s"], "label": jnp.asarray(a["labels3"])}
    for insert in (continual.reservoir_insert, functools.partial(continual.balanced_insert, num_classes=3)):
        memory = insert(
            memory, batch, jax.random.key(0), where=a["rows"] & (a["labels3"] >= 0) & (a["labels3"] < 3)
        )
    drawn, valid = continual.reservoir_draw(memory, jax.random.key(1), batch_size=3)
    return jnp.where(valid[:, None], drawn["x"], 0.0)


def _linear(w, x):
    return core.as_float(x) @ core.as_float(w).T


def _importance(a):
    return [
        continual.diag_fisher(_linear, a["bank"], a["s"], a["labels3"], kind=kind, where=a["rows"])
        for kind in ("empirical", "weighted", "batch_mean", "exact")
    ]


def _sensitivity(a):
    scaled = lambda w, x: core.as_float(x) * jnp.sum(core.as_float(w))
    return continual.mas_importance(scaled, a["bank"], a["s"], where=a["rows"])


def _anchored(a):
    fisher = jnp.abs(core.as_float(a["t"]))
    anchor = continual.ewc_anchor(continual.anchor_init(a["s"]), a["s"], fisher, separate=True)
    later = continual.si_anchor(anchor, a["t"], continual.si_path(a["s"], a["t"], a["s"], a["t"]))
    return [continual.quadratic_penalty(a["t"], kept) for kept in (anchor, later)]


SEQUENCES = ("average_accuracy", "average_incremental_accuracy", "backward_transfer", "forgetting_max",
             "forgetting_mean", "positive_backward_transfer", "mean_forward_transfer")  # fmt: skip


def _sequence(name):
    """Of accuracies after each of three tasks."""
    return lambda a: getattr(continual, name)(core.as_float(a["bank"])[:, :1] * jnp.ones(3))


def _proxied(name):
    return lambda a: getattr(proxy_contrast, name)(a["s"], a["bank"], a["labels3"], where=a["rows"])


def _relations(a):
    bank = a["bank"][None]
    return [
        prototype_relation.relation_distillation_loss(a["s"], bank, a["t"], bank, axis=axis, where=a["rows"])
        for axis in ("class", "sample")
    ]


CONTINUAL = {
    **{name: _memory for name in ("reservoir_insert", "reservoir_draw", "reservoir_init", "balanced_insert")},
    **{name: _anchored for name in ("ewc_anchor", "si_anchor", "si_path", "quadratic_penalty", "anchor_init")},
    **{name: _sequence(name) for name in SEQUENCES},
    **{name: _proxied(name) for name in ("proxy_contrastive_loss", "all_pairs_contrastive_loss")},
    "forward_transfer": lambda a: continual.forward_transfer(
        core.as_float(a["bank"])[:, :1] * jnp.ones(3), jnp.zeros(3)
    ),
    "diag_fisher": _importance,
    "mas_importance": _sensitivity,
    "agem_project": lambda a: continual.agem_project(a["s"], a["t"]),
    "gem_project": lambda a: continual.gem_project(a["v"], a["s"].T),
    "lwf_loss": lambda a: continual.lwf_loss(a["s"], a["t"], classes=a["where"]),
    "icarl_loss": lambda a: continual.icarl_loss(a["s"], a["y"], a["t"]),
    "der_loss": lambda a: continual.der_loss(a["s"], a["t"], where=a["rows"]),
    "er_ace_loss": lambda a: continual.er_ace_loss(a["s"], a["y"], where=a["rows"]),
    "herding_order": lambda a: jnp.where(a["rows"][:, None], a["s"], 0.0)[
        continual.herding_order(a["s"], where=a["rows"])
    ][:2],
    "nearest_class_mean_logits": lambda a: continual.nearest_class_mean_logits(
        a["t"], a["s"], a["labels3"], num_classes=3
    ),
    "proxy_distillation_loss": lambda a: proxy_contrast.proxy_distillation_loss(
        a["s"], a["t"], a["y"], where=a["rows"]
    ),
    "sample_relation_loss": lambda a: proxy_contrast.sample_relation_loss(a["s"], a["t"], where=a["rows"]),
    "prototype_pull_loss": lambda a: prototype_relation.prototype_pull_loss(
        a["s"], a["bank"], a["labels3"], where=a["rows"]
    ),
    "relation_distillation_loss": _relations,
    "unlearn": lambda a: refresh.unlearn(a["s"], a["t"], jnp.abs(core.as_float(a["t"])), jax.random.key(0), size=0.1),
    "bregman": lambda a: refresh.bregman(refresh.negative_entropy, _soft(a["s"]), _soft(a["t"])),
}  # fmt: skip
CALLS |= CONTINUAL


def _mixture(a):
    """Three components around the rows of the bank."""
    means = core.as_float(a["bank"])
    wide = jnp.broadcast_to(jnp.eye(means.shape[1]), (3, means.shape[1], means.shape[1]))
    return curriculum.Mixture(jnp.ones(3) / 3, means, wide, jnp.ones(3, bool))


def _of_mixture(name):
    return lambda a: getattr(curriculum, name)(_mixture(a), a["s"], where=a["rows"])


CURRICULUM = {
    **{name: _of_mixture(name) for name in ("em_step", "mean_log_likelihood", "akaike")},
    "component_log_probs": lambda a: curriculum.component_log_probs(_mixture(a), a["s"]),
    "fit_mixture": lambda a: curriculum.fit_mixture(
        jax.random.key(0), a["s"], 2, max_components=3, max_steps=3, where=a["rows"]
    ),
    "select_mixture": lambda a: curriculum.select_mixture(
        jax.random.key(0), a["s"], max_components=3, max_steps=3, where=a["rows"]
    ),
    "loss_difficulty": lambda a: curriculum.loss_difficulty(a["s"], a["y"], classes=a["where"]),
    "confidence_difficulty": lambda a: curriculum.confidence_difficulty(a["s"], a["y"], classes=a["where"]),
    "transfer_difficulty": lambda a: curriculum.transfer_difficulty(
        a["s"], a["labels3"], num_classes=3, steps=3, where=a["rows"]
    ),
    "curriculum_order": lambda a: curriculum.curriculum_order(a["s"], where=a["where"]),
    "gumbel_top_k": lambda a: curriculum.gumbel_top_k(jax.random.key(0), a["s"], 1, where=a["where"]),
    "arm_log_probs": lambda a: curriculum.arm_log_probs(a["s"], temperature=0.1, where=a["where"]),
    "greedy_arm_log_probs": lambda a: curriculum.greedy_arm_log_probs(a["s"], where=a["where"]),
    "proportional_arm_log_probs": lambda a: curriculum.proportional_arm_log_probs(a["s"], where=a["where"]),
    "arm_rewards": lambda a: curriculum.arm_rewards(a["s"][:, 0], a["labels3"], num_arms=3, where=a["rows"]),
    "update_arms": lambda a: curriculum.update_arms(
        a["bank"][:, 0], a["s"][:, 0], a["labels3"], where=a["rows"]
    ),
    "paced_count": lambda a: curriculum.paced_count(a["step"], num_steps=50, size=a["index"]),
    "easiness_log_probs": lambda a: cycles.easiness_log_probs(jnp.abs(a["s"]), where=a["where"]),
    "fedavg": lambda a: federated.fedavg(
        core.as_float(a["bank"][0]), a["s"], jnp.abs(a["v"]), where=a["rows"]
    ),
    "class_distances": lambda a: class_order.class_distances(
        a["s"], a["labels3"], num_classes=3, where=a["rows"]
    ),
    "component_probs": lambda a: alp_gmm.component_probs(a["s"], where=a["where"]),
    "absolute_progress": lambda a: alp_gmm.absolute_progress(
        a["bank"][0],
        a["bank"][1, 0],
        jnp.tile(a["s"], (2, 1)),
        jnp.tile(a["v"], 2),
        where=jnp.tile(a["rows"], 2),
    ),
}
CALLS |= CURRICULUM

# Types, constants, and what only makes or reads a state that a call above goes through.
COVERED_BY = {"Reservoir", "WeightAnchor",
              "EmaState", "TrainState", "Learner", "InputError", "MissingFile",
              "MissingPackage", "MachineError", "MASKED_LOGIT", "PrototypeBank", "Queue", "bank_init",
              "ema_init",
              "ema_value", "queue_init", "queue_items", "gradient_learner", "CrdState", "crd_init",
              "crd_negatives", "GroupStatistics", "EntropyCoefficient", "PolicyState", "Rollouts", "TextProblems",
              "ClassOverlap", "EvWsssBranch", "EvWsssTerms", "RailTerms", "class_queue_means",
              "class_queues_init", "AdaptiveThresholds", "CurriculumThresholds", "TeacherMemory",
              "PseudoLabelQuality", "PseudoLabels", "SefarParts", "TeacherStats", "adaptive_init",
              "LabelAugmentationTerms", "MixedBarlowTwinsTerms", "VICRegTerms", "MeanTest", "VarianceTest",
              "GradeAgreement", "GradedAnswers", "PairedEffects", "RaterKappas", "Trial", "PreferenceAnswers",
              "RobotPaths",
              "curriculum_init", "BoxLevels", "Consensus", "DEFAULT_THRESHOLDS", "DetectionScores",
              "LabelStore", "store_init", "BilevelState", "fusion_controller_init",
              "DlaLosses", "PowerLaw", "Exchange", "MasterWeightsState", "UntilState", "Computed",
              "BarlowTwinsTerms", "Mixture", "ORDERS", "PACING_LAWS"}  # fmt: skip

# Learners and their texts take models and problems; tests/post_training/ has their faults one by one. What only says
# where arrays live changes no number: tests/core/test_mapped.py.
NOT_ARRAYS = {
    "computed",
    "debug_checks",
    "master_weights",
    "mixed_rows",
    "pass_rows",
    "permute_index",
    "until",
    "data_devices",
    "split_rows",
    "match_varying",
    "dual_head_apply",
    "bilevel_learner",
    "unrolled_loss",
    "mean_teacher_learner",
    "projected_learner",
    "rlvr_learner",
    "si_end_task",
    "si_learner",
    "text_rlvr_learner",
    "append",
    "completion_scores",
    "Finding",
    "diagnose",
    "inject",
    "roll_out",
    "text_problems",
    "completion_texts",
    "lars",
}


def test_no_public_function_is_left_out():
    """What rooms export, and all of the two families whose examples tests/test_examples.py does not spoil."""
    rooms = (
        "continual core curriculum distillation merging post_training ranking self_supervised semi_supervised"
    )
    names = {
        name.rpartition(".")[2]
        for room in rooms.split()
        for name in public(f"jaxlab.{room}")
        if name.count(".") == 2 or room in ("merging", "self_supervised")
    }
    assert names - COVERED_BY - NOT_ARRAYS <= set(CALLS), sorted(names - COVERED_BY - NOT_ARRAYS - set(CALLS))


@functools.cache
def _compiled(name: str):
    def total(floats, rest):
        out = CALLS[name]({**floats, **rest})
        leaves = [leaf for leaf in jax.tree.leaves(out) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        return sum((jnp.sum(leaf.astype(jnp.float32)) for leaf in leaves), jnp.float32(0)), leaves

    return jax.jit(jax.value_and_grad(total, has_aux=True))


def _is_finite_or_says_why(name, form, values, mask, seed):
    floats, rest = _arguments(*form, values, mask, seed)
    try:
        (_, leaves), grads = _compiled(name)(floats, rest)
    except ValueError as error:
        assert "\n" not in str(error)
        assert len(str(error)) > 20
        return
    for leaf in leaves:
        assert np.isfinite(np.asarray(leaf, np.float32)).all(), (name, "value")
    for key, grad in grads.items():
        assert np.isfinite(np.asarray(grad, np.float32)).all(), (name, "gradient of", key)


inputs = hypothesis.given(
    form=st.sampled_from(FORMS),
    values=st.sampled_from(VALUES),
    mask=st.sampled_from(MASKS),
    seed=st.integers(0, 10_000),
)


def examples(count):
    return hypothesis.settings(max_examples=count, deadline=None, derandomize=True, database=None)


@pytest.mark.wide
@pytest.mark.parametrize("name", sorted(FOUNDATIONS))
@examples(10)
@inputs
def test_finite_value_and_gradient_or_one_clear_line(name, form, values, mask, seed):
    _is_finite_or_says_why(name, form, values, mask, seed)


@pytest.mark.wide
@pytest.mark.parametrize("name", sorted(set(CALLS) - FOUNDATIONS))
@examples(3)
@inputs
def test_families_are_finite_or_say_why(name, form, values, mask, seed):
    _is_finite_or_says_why(name, form, values, mask, seed)


# A call that compares a float, or takes the largest, before the function sees it: there a NaN ends. And what remembers
# integers alone: there it is refused, where it can be seen.
ENDS_IN = {
    **dict.fromkeys(
        ("avg_at_n", "unlabelled_fraction", "curriculum_update", "curriculum_thresholds"), ("s",)
    ),
    **dict.fromkeys(("class_overlap", "mean_overlap", "dice_score"), ("s", "t")),
    **dict.fromkeys(("confidence_restraint_loss", "disagreement_supervision_loss", "dice_loss"), ("t",)),
    "dual_teacher_loss": ("v",),
    "herding_order": ("s",),
}

# A call that spreads a NaN over its row, by a softmax or a product, before a mask can stop it.
SPREADS = {"class_centroids", "ema_centroids", "class_mean_teacher", "pixel_cross_entropy", "dual_teacher_loss",
           "codec_init", "encode_message", "decode_message", "interaction_round", "message_consistency",
           "state_consistency", "talking_loss", "sample_clicks", "sample_cascade_clicks", "cascade_examination",
           "relative_examination_error", "mean_average_precision", "match_detections"}  # fmt: skip

# Functions whose first float is what a masked set is applied to.
UNMASKED_FIRST = {"linear_probe", "knn_probe", "standardize"}


class _Asked(dict):
    """Arguments that know which of them were asked for."""

    def __init__(self, *args):
        super().__init__(*args)
        self.names = set()

    def __getitem__(self, name):
        self.names.add(name)
        return super().__getitem__(name)


def _hidden(name, floats, rest):
    """Which entries of each float a mask hides from the function, or a label that marks a row to ignore."""
    seen = set()

    def ask(floats, rest):
        arguments = _Asked({**floats, **rest})
        out = CALLS[name](arguments)
        seen.update(arguments.names)
        return out

    jax.eval_shape(ask, floats, rest)
    rows = np.zeros(len(floats["v"]), bool)
    rows |= ~rest["rows"] if "rows" in seen else False
    labelled = "y" in seen and name not in POST_TRAINING  # there they number groups
    classes = (
        np.inf if name == "pseudo_label_quality" else floats["s"].shape[1]
    )  # which does not know how many
    rows |= (rest["y"] < 0) | (rest["y"] >= classes) if labelled else False
    rows |= (rest["labels3"] < 0) | (rest["labels3"] >= 3) if "labels3" in seen else False
    where = rest["where"] if "where" in seen else np.ones(floats["s"].shape, bool)
    entries = rows[:, None] | ~where
    if name in SPREADS:
        entries = np.repeat(entries.all(axis=1, keepdims=True), entries.shape[1], axis=1)
    of = {
        "s": entries,
        "t": entries,
        "v": rows | ~where.any(axis=1),
        "bank": np.zeros(floats["bank"].shape, bool),
    }
    return of | ({"s": np.zeros_like(entries)} if name in UNMASKED_FIRST else {})


def _planted(name, floats, rest, key, at, number):
    array = np.array(floats[key])
    array[at] = number
    (_, leaves), grads = _compiled(name)({**floats, key: array}, rest)
    return [np.asarray(leaf, np.float32) for leaf in leaves], grads


def _same(some, others):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(some, others, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CALLS))
@pytest.mark.parametrize("mask", ["all", "some"])
def test_a_nan_acts_where_a_number_does_and_nowhere_else(name, mask):
    """Planted where another number would change the result it comes out; behind a mask it leaves no trace."""
    rng = np.random.default_rng(len(name))
    floats, rest = _arguments(4, 5, "float32", "normal", mask, len(name))
    hidden = _hidden(name, floats, rest)
    for key, array in floats.items():
        for _ in range(3):
            at = tuple(int(rng.integers(size)) for size in array.shape)
            plant = functools.partial(_planted, name, floats, rest, key, at)
            plain, _ = plant(array[at])
            matters = not all(_same(plain, plant(number)[0]) for number in (-1e4, -0.7, 0.3, 7.0, 1e4))
            values, grads = plant(np.nan)
            if matters:
                out = any(np.isnan(value).any() for value in values)
                assert out or key in ENDS_IN.get(name, ()), (name, key, at, "a NaN became a number")
            elif hidden[key][at]:
                assert _same(plain, values), (name, key, at, "a masked NaN shows in the value")
                for other, grad in grads.items():
                    finite = np.isfinite(np.array(grad))
                    if other == key:  # what is done with the entry itself, or its row, is the caller's affair
                        finite[at[:1] if name in SPREADS else at] = True
                    assert finite.all(), (name, key, at, "a masked NaN shows in the gradient of", other)


@pytest.mark.parametrize("name", ["masked_mean", "masked_softmax", "forward_kl", "kd_loss", "dist_loss", "dkd_loss",
                                  "pld_loss", "hint_loss", "pearson", "masked_std"])  # fmt: skip
def test_nan_behind_a_mask_stays_there(name):
    floats, rest = _arguments(4, 5, "float32", "normal", "some", 3)
    rest["where"][0], rest["y"] = True, np.array([0, 1, 2, 3], np.int32)
    rest["where"][np.arange(4), rest["y"]] = True
    clean = _compiled(name)(floats, rest)
    dirty = _compiled(name)(
        {**floats, **{k: np.where(rest["where"], floats[k], np.nan) for k in ("s", "t")}}, rest
    )
    for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty)):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"constant_decay", "ramp_up_decay", "sigmoid_ramp_up",
                                                      "linear_ramp_up", "cosine_ramp_down",
                                                      "annealed_beta", "warm_up_constant_cosine", "paced_count",
                                                      "sine_ramp_up"}))  # fmt: skip
def test_shapes_that_do_not_fit_are_one_clear_line(name):
    """A wrong number of rows or classes anywhere never broadcasts quietly."""
    floats, rest = _arguments(4, 5, "float32", "normal", "some", 0)
    odd, _ = _arguments(3, 2, "float32", "normal", "some", 0)
    tried = 0
    for key in ("t", "s"):
        try:
            jax.eval_shape(CALLS[name], {**floats, **rest, key: odd[key]})
        except (ValueError, TypeError) as error:
            tried += 1
            assert isinstance(error, ValueError), (name, key, error)
            assert "\n" not in str(error), (name, key)
    takes_one_array = {"as_float", "crop_flip", "normalize", "ema_update", "overlong_penalty", "sharpen",
                       "random_affine", "cutout", "truncate", "min_max_normalize", "localization_success",
                       "localization_auc", "average_precision", "linear_keep_rate", "clip_coefficients",
                       "initial_coefficients", "position_bias_examination", "click_probability",
                       "trust_bias_click_probability", "hacking_score", "render_mask", "random_views",
                       "forward_transfer", "mas_importance", "adaptive_entropy", *SEQUENCES,
                       "aggregate_logits", "single_logits", "joint_labels", "temperature_penalty",
                       "transformed_copies", "cohen_kappa", "fleiss_kappa", "krippendorff_alpha",
                       "correlation_p_value", "correlation_interval", "chi_squared_test"}  # fmt: skip
    assert tried or name in takes_one_array, name
