"""Model merging: several fine-tuned copies of one model become one model, without training on any task's labels.

Parameters are pytrees. A stack of K models or task vectors is the same pytree whose leaves have one more axis in
front, `[K, ...]`, as `jax.tree.map(lambda *x: jnp.stack(x), *models)` makes it.
"""

from jaxlab.merging import adamerging
from jaxlab.merging._task_vectors import merge, task_vector
from jaxlab.merging._ties import ties_merge, ties_select

__all__ = [
    "adamerging",
    "merge",
    "task_vector",
    "ties_merge",
    "ties_select",
]
