"""The functions that rax 0.4.0 has too give its numbers: ties, empty lists, scores of 60, documents that do not exist.

tests/golden/rax.npz holds what rax gave on CPU, unreduced, for `scores`, `labels` (grades 0 to 4; `mrr` sees those
above 2 as relevant), `where` and `weights` `[16, 12]`.
"""

import pathlib

import jax
import numpy as np
import pytest

from jaxlab.metrics import mrr, ndcg_at_k
from jaxlab.ranking import softmax_loss

RAX = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "rax.npz"))
SCORES, LABELS, WEIGHTS = RAX["scores"], RAX["labels"], RAX["weights"]
WHERE = {"all": None, "where": RAX["where"]}


@pytest.mark.parametrize("given", WHERE)
@pytest.mark.parametrize("k", [1, 3, 10, None])
def test_metrics(k, given):
    where = WHERE[given]
    ndcg = ndcg_at_k(SCORES, LABELS, k=k, where=where)
    np.testing.assert_allclose(ndcg, RAX[f"ndcg_{k}_{given}"], rtol=1e-5, atol=1e-7)
    relevant = (LABELS > 2).astype(np.float32)
    np.testing.assert_allclose(mrr(SCORES, relevant, k=k, where=where), RAX[f"mrr_{k}_{given}"], rtol=1e-6)


@pytest.mark.parametrize("given", WHERE)
def test_softmax_loss(given):
    where = WHERE[given]
    loss = lambda scores, **kw: softmax_loss(scores, LABELS, where=where, **kw)
    np.testing.assert_allclose(loss(SCORES), RAX[f"softmax_{given}"], rtol=1e-5)
    np.testing.assert_allclose(loss(SCORES, weights=WEIGHTS), RAX[f"softmax_weighted_{given}"], rtol=1e-5)
    gradient = jax.grad(lambda scores: loss(scores).sum())(SCORES)
    np.testing.assert_allclose(gradient, RAX[f"softmax_grad_{given}"], rtol=1e-5, atol=1e-5)
