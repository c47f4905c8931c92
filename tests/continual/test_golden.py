"""The numbers of mammoth, Avalanche and PCR: values, gradients, and weights after some steps."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import continual as c
from jaxlab.continual import progressive
from jaxlab.core import cross_entropy, entropy
from jaxlab.metrics import t_interval

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
Z = dict(np.load(GOLDEN / "continual_baselines.npz"))
F32 = {name: np.float32(x) if x.dtype == np.float64 else x for name, x in Z.items()}
X, Y, X2, Y2 = (F32["in_" + name] for name in ("x", "y", "x2", "y2"))
# Linear(4, 3), tanh, Linear(3, 3); their flat order has weights as [out, in].
SHAPES = {"w1": (3, 4), "b1": (3,), "w2": (3, 3), "b2": (3,)}


def _tree(flat):
    cuts = np.cumsum([np.prod(shape) for shape in SHAPES.values()])[:-1]
    return {name: part.reshape(shape) for (name, shape), part in zip(SHAPES.items(), np.split(flat, cuts))}


def _flat(tree):
    return jnp.concatenate([tree[name].ravel() for name in SHAPES])


def net(params, x):
    return jnp.tanh(x @ params["w1"].T + params["b1"]) @ params["w2"].T + params["b2"]


def mean_loss(params, x, y):
    return jnp.mean(cross_entropy(net(params, x), y))


PARAMS = _tree(F32["in_params0"])


def _same(got, name, rtol=1e-5):
    expected = Z[name]
    scale = np.abs(expected).max(initial=1e-12)
    np.testing.assert_allclose(
        np.asarray(got, np.float64), expected, rtol=rtol, atol=rtol * scale, err_msg=name
    )


def _fisher(params, x, y):
    return c.diag_fisher(net, params, x, y, kind="weighted", batch_size=4)


def _consolidated():
    params, anchor, out = PARAMS, c.anchor_init(PARAMS), {}
    fisher = _fisher(params, X, Y)
    anchor = c.ewc_anchor(anchor, params, fisher)
    out["out_ewc_fisher1"] = _flat(fisher)
    for _ in range(3):
        loss, grads = jax.value_and_grad(mean_loss)(params, X2, Y2)
        pull = jax.grad(lambda p: c.quadratic_penalty(p, anchor, strength=2 * 0.7))(params)
        params = jax.tree.map(lambda p, g, h: p - 0.1 * (g + h), params, grads, pull)
    out["out_ewc_loss_last"] = loss
    out["out_ewc_params_after3"] = _flat(params)
    out["out_ewc_penalty_after3"] = c.quadratic_penalty(params, anchor, strength=2 * 0.7)

    again = _fisher(params, X, Y)
    out["out_ewc_fisher2"] = _flat(c.ewc_anchor(anchor, params, again, decay=0.9).importance)
    return out


def _synaptic():
    params, anchor, out = PARAMS, c.anchor_init(PARAMS), {}
    for task, (x, y, steps) in enumerate(((X, Y, 4), (X2, Y2, 3)), start=1):
        path = jax.tree.map(jnp.zeros_like, params)
        for _ in range(steps):
            grads = jax.grad(mean_loss)(params, x, y)
            pull = jax.grad(lambda p: c.quadratic_penalty(p, anchor, strength=2 * 0.5))(params)  # noqa: B023
            after = jax.tree.map(lambda p, g, h: p - 0.3 * jnp.clip(g + h, -1, 1), params, grads, pull)
            path, params = c.si_path(path, grads, params, after), after
        out[f"out_si_params_t{task}"] = _flat(params)
        if task == 1:
            out["out_si_small_omega_t1"] = _flat(path)
        else:
            out["out_si_penalty_t2"] = c.quadratic_penalty(params, anchor, strength=2)
        anchor = c.si_anchor(anchor, params, path, damping=0.9)
        out[f"out_si_big_omega_t{task}"] = _flat(anchor.importance)
    return out


def _dark():
    def loss(params):
        replayed = jnp.mean(c.der_loss(net(params, F32["in_der_bx1"]), F32["in_der_bl"]))
        again = mean_loss(params, F32["in_der_bx2"], F32["in_der_by"])
        return mean_loss(params, X2, Y2) + 0.3 * replayed + 0.5 * again

    value, grads = jax.value_and_grad(loss)(PARAMS)
    return {
        "out_der_loss": value,
        "out_der_params": _flat(jax.tree.map(lambda p, g: p - 0.1 * g, PARAMS, grads)),
    }


def _old_outputs():
    out = {}
    for case in ("lwf", "lwf_extreme"):
        old, new = F32[f"in_{case}_old"], F32[f"in_{case}_new"]
        # Theirs is a cross-entropy: larger by the old network's entropy.
        loss = lambda new: jnp.mean(c.lwf_loss(new, old) + entropy(old / 2))  # noqa: B023
        out[f"out_{case}"], out[f"grad_{case}_new"] = jax.value_and_grad(loss)(new)
    active = F32["in_avlwf_active"]
    classes = np.isin(np.arange(7), active)
    out["out_avlwf"] = jnp.mean(c.lwf_loss(F32["in_avlwf_out"], F32["in_avlwf_prev"], classes=classes))
    old = jax.scipy.special.logit(F32["in_icarl_old_sigmoid"])
    icarl = lambda z, past: jnp.mean(
        c.icarl_loss(z, F32["in_icarl_labels"], old, old_classes=np.arange(6) < past)
    )
    out["out_icarl"], out["grad_icarl"] = jax.value_and_grad(icarl)(F32["in_icarl_logits"], 4)
    out["out_icarl_task0"] = icarl(F32["in_icarl_logits"], 0)
    return out


def _projected():
    out = {"out_agem": c.agem_project(F32["in_agem_g"], F32["in_agem_gref"])}
    for case in ("gem", "gem_margin0", "gem_collinear"):
        gradients = (F32[f"in_{case}_g"], F32[f"in_{case}_memgrads"])
        out["out_" + case] = c.gem_project(*gradients, margin=float(F32[f"in_{case}_margin"]))
    return out


def _measured():
    runs = F32["in_runs_acc"]
    lower, full = F32["in_acc_lower"], F32["in_acc_full"]
    adapter = {
        "scale": F32["in_pnn_alphas"],
        "down": {"kernel": F32["in_pnn_V_w"].T, "bias": F32["in_pnn_V_b"]},
        "up": {"kernel": F32["in_pnn_U_w"].T, "bias": F32["in_pnn_U_b"]},
    }
    return {
        "out_bwt": c.backward_transfer(lower),
        "out_forgetting": c.forgetting_max(lower),
        "out_fwt": c.forward_transfer(full, F32["in_rand"]),
        "out_runs_avg_end_acc": jnp.mean(c.average_accuracy(runs)),
        "out_runs_avg_end_fgt": jnp.mean(c.forgetting_mean(runs)),
        "out_runs_avg_acc": jnp.mean(c.average_incremental_accuracy(runs)),
        "out_runs_bwtp": jnp.mean(c.positive_backward_transfer(runs)),
        "out_runs_fwt": jnp.mean(c.mean_forward_transfer(runs)),
        "out_herd_order": c.herding_order(F32["in_herd_feats"]),
        "out_pnn": progressive.lateral_adapter(adapter, np.stack([F32["in_pnn_h0"], F32["in_pnn_h1"]])),
    }


TABLES = {
    "ewc": _consolidated, "si": _synaptic, "der": _dark, "outputs": _old_outputs, "projections": _projected,
}  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_their_numbers(table):
    got = jax.jit(TABLES[table])()
    for name, value in got.items():
        _same(value, name, rtol=1e-4 if name == "out_gem_collinear" else 1e-5)


def test_their_measures():
    half_widths = {
        name: Z[f"out_runs_{name}"][1] for name in ("avg_end_acc", "avg_end_fgt", "avg_acc", "bwtp", "fwt")
    }
    measures = (c.average_accuracy, c.forgetting_mean, c.average_incremental_accuracy, c.positive_backward_transfer,
                c.mean_forward_transfer)  # fmt: skip
    for (name, half), measure in zip(half_widths.items(), measures):
        low, high = t_interval(np.asarray(measure(F32["in_runs_acc"])))
        np.testing.assert_allclose((high - low) / 2, half, rtol=1e-4, err_msg=name)
    for name, value in jax.jit(_measured)().items():
        # Over runs they give the mean and the half-width of its interval.
        np.testing.assert_allclose(value, Z[name][0] if "runs" in name else Z[name], rtol=1e-5, err_msg=name)
