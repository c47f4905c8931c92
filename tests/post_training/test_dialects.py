"""The page of dialects is true: TRL under the settings that it names gives what stands beside them."""

import functools
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training
from tests.post_training.test_off_policy import IN
from tests.post_training.trl_code import trl_advantage, trl_importance_weight, trl_loss

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "dialects.md").read_text()
NAMES = re.search(r"^```py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1]
ARRAYS = {
    "mask": IN["mask"], "old_log_probs": IN["old_log_probs"], "sampler_log_probs": IN["sampler_log_probs"],
    "advantage": IN["advantage"], "ref_log_probs": IN["sampler_log_probs"] - 0.3,
    "entropy": jnp.asarray(np.random.default_rng(1).random(IN["mask"].shape), jnp.float32),
    "rewards": IN["rewards"], "total": IN["rewards"].sum(1), "group": np.arange(8) // 4,
}  # fmt: skip


def table(title):
    """TRL's settings, and what stands in the column "here", of every row under a heading of the page."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    code = lambda cell: re.match("`(.*?)`", cell)[1]
    return [(code(row[0]), code(row[-1])) for row in rows]


def here(expression, log_probs):
    scope = vars(post_training) | ARRAYS | {"log_probs": log_probs}
    exec(NAMES, scope)
    return eval(expression, scope)


@functools.cache
def losses():
    """Value and gradient of every row of the page, in one compiled function."""
    each = {row: functools.partial(here, row[1]) for row in table("Losses") + table("Corrections")}
    call = jax.jit(lambda x: {row: jax.value_and_grad(loss)(x) for row, loss in each.items()})
    return call(IN["log_probs"])


def of_trl(settings):
    given = {"old_per_token_logps": ARRAYS["old_log_probs"], "ref_per_token_logps": ARRAYS["ref_log_probs"],
             "sampling_per_token_logps": ARRAYS["sampler_log_probs"]}  # fmt: skip
    if "vllm_importance_sampling_mode" in settings:
        settings = {"use_vllm": True, **settings}
        weighted = {name: value for name, value in settings.items() if name.startswith("vllm")}
        given["importance_sampling_ratio"] = trl_importance_weight(
            ARRAYS["old_log_probs"], ARRAYS["sampler_log_probs"], ARRAYS["mask"], **weighted
        )
    call = functools.partial(trl_loss, IN["log_probs"], ARRAYS["advantage"], ARRAYS["mask"])
    return call(entropy=ARRAYS["entropy"], settings=settings, **given)[:2]


def close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def test_the_page_has_its_rows():
    assert [len(table(title)) for title in ("Losses", "Corrections", "Advantages")] == [14, 6, 4]


@pytest.mark.parametrize("row", table("Losses") + table("Corrections"), ids=lambda row: row[0])
def test_a_loss_has_the_value_and_the_gradient_of_trl(row):
    value, gradient = of_trl(eval(f"dict({row[0]})"))
    got = losses()[row]
    close(got[0], value)
    close(got[1], gradient)
    assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize("row", table("Advantages"), ids=lambda row: row[0])
def test_an_advantage_has_the_value_of_trl(row):
    close(here(row[1], IN["log_probs"]), trl_advantage(ARRAYS["rewards"], 4, **eval(f"dict({row[0]})")))


def test_every_name_of_the_page_exists():
    called = set(re.findall(r"\b([a-z_]+)\(", "".join(re.findall("`[^`]*`", PAGE))))
    known = set(dir(post_training))
    assert called - known == set()
    ours = "_advantage|_loss|_mask|_weight|_estimate|_ratio"
    last = [row.strip("| ").split(" | ")[-1] for row in PAGE.splitlines() if row.startswith("| ")]
    assert set(re.findall(rf"\b[a-z_]+(?:{ours})\b", "".join(last))) <= known
