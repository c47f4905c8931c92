"""Shared mathematics: used by every family, imports none."""

from jaxlab.core._bilevel import BilevelState, bilevel_learner, unrolled_loss
from jaxlab.core._contrastive import multi_positive_cross_entropy, nt_xent, supcon_loss
from jaxlab.core._cross_correlation import cross_correlation, standardize_batch
from jaxlab.core._divergence import cross_entropy, entropy, forward_kl, jsd, reverse_kl, total_variation
from jaxlab.core._ema import EmaState, constant_decay, ema_init, ema_update, ema_value, ramp_up_decay
from jaxlab.core._errors import InputError, MachineError, MissingFile, MissingPackage
from jaxlab.core._gradient_alignment import align_gradients
from jaxlab.core._gradient_learner import TrainState, gradient_learner
from jaxlab.core._learner import Computed, Learner, computed
from jaxlab.core._mapped import data_devices, match_varying, split_rows
from jaxlab.core._master_weights import MasterWeightsState, master_weights
from jaxlab.core._permutation import mixed_rows, pass_rows, permute_index
from jaxlab.core._prototype import (
    PrototypeBank,
    bank_init,
    bank_update,
    class_means,
    exchange,
    normalize,
    prototype_logits,
)
from jaxlab.core._queue import Queue, queue_init, queue_items, queue_push
from jaxlab.core._reduce import as_float, masked_max, masked_mean, masked_std, masked_sum, masked_var
from jaxlab.core._schedule import cosine_ramp_down, linear_ramp_up, sigmoid_ramp_up
from jaxlab.core._softmax import MASKED_LOGIT, masked_log_softmax, masked_logsumexp, masked_softmax
from jaxlab.core._statistics import cosine_similarity, pearson
from jaxlab.core._until import UntilState, until
from jaxlab.core._values import debug_checks

__all__ = [
    "MASKED_LOGIT",
    "BilevelState",
    "Computed",
    "EmaState",
    "InputError",
    "Learner",
    "MachineError",
    "MasterWeightsState",
    "MissingFile",
    "MissingPackage",
    "PrototypeBank",
    "Queue",
    "TrainState",
    "UntilState",
    "align_gradients",
    "as_float",
    "bank_init",
    "bank_update",
    "bilevel_learner",
    "class_means",
    "computed",
    "constant_decay",
    "cosine_ramp_down",
    "cosine_similarity",
    "cross_correlation",
    "cross_entropy",
    "data_devices",
    "debug_checks",
    "ema_init",
    "ema_update",
    "ema_value",
    "entropy",
    "exchange",
    "forward_kl",
    "gradient_learner",
    "jsd",
    "linear_ramp_up",
    "masked_log_softmax",
    "masked_logsumexp",
    "masked_max",
    "masked_mean",
    "masked_softmax",
    "masked_std",
    "masked_sum",
    "masked_var",
    "master_weights",
    "match_varying",
    "mixed_rows",
    "multi_positive_cross_entropy",
    "normalize",
    "nt_xent",
    "pass_rows",
    "pearson",
    "permute_index",
    "prototype_logits",
    "queue_init",
    "queue_items",
    "queue_push",
    "ramp_up_decay",
    "reverse_kl",
    "sigmoid_ramp_up",
    "split_rows",
    "standardize_batch",
    "supcon_loss",
    "total_variation",
    "unrolled_loss",
    "until",
]
