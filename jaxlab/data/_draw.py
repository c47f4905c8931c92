"""Rows of a data set that lives on the device, chosen by index or at random."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError, as_integers
from jaxlab.data._images import Images, check_channels_last


def _num_rows(data: Any) -> int:
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(data)]
    if not shapes or any(len(shape) == 0 for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise InputError(f"the arrays of a data set must share their leading axis, got shapes {shapes}")
    return shapes[0][0]


def take(data: Any, index: jax.Array) -> Any:
    """The rows `index` of every array in a pytree.

    Args:
        data: pytree of arrays `[N, ...]`.
        index: `[B]` integers in [0, N).

    Returns:
        The same pytree with arrays `[B, ...]`.

    Raises:
        ValueError: arrays that do not share their leading axis, or a known index of no row.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import take
    >>> take({"x": jnp.array([10, 20, 30])}, jnp.array([2, 0]))["x"].tolist()
    [30, 10]
    """
    index = as_integers("index", index, "rows of the data", _num_rows(data))
    return jax.tree.map(lambda x: jnp.asarray(x)[index], data)


def draw(data: Any, key: jax.Array, *, batch_size: int) -> dict[str, Any]:
    """A batch of rows drawn uniformly with replacement.

    Pure: it runs inside the compiled step, so that a run resumed at a step sees the batch it would have seen.
    The batch carries the rows it came from, which is what a memory bank or a table of teacher logits is read
    with; a table can also be a field of the data set itself.

        index_b ~ Uniform{0, ..., N - 1}, independent over b

    Args:
        data: `Images`, or another NamedTuple or dict of arrays (or pytrees) with one leading axis `[N, ...]`.
        key: `jax.random.key`.
        batch_size: number of rows B.

    Returns:
        A dict of the fields of `data`, each `[B, ...]`, and `"index"` `[B]` int32.

    Raises:
        ValueError: no rows, a negative batch size, arrays that do not share their leading axis, a field named
            "index", `Images` whose channels come first.

    >>> import jax
    >>> from jaxlab.data import digits, draw
    >>> batch = draw(digits(), jax.random.key(0), batch_size=4)
    >>> {name: value.shape for name, value in sorted(batch.items())}
    {'image': (4, 8, 8, 1), 'index': (4,), 'label': (4,)}
    """
    if isinstance(data, Images):
        check_channels_last("image", jnp.shape(data.image))
    fields = dict(data) if isinstance(data, Mapping) else data._asdict()
    num_rows = _num_rows(fields)
    if num_rows == 0:
        raise InputError("draw needs a data set with at least one row, got 0")
    if not hasattr(batch_size, "__index__") or batch_size < 0:
        raise InputError(f"batch_size is {batch_size!r}: it must be a whole number, at least 0")
    if "index" in fields:
        raise InputError(f"a batch's 'index' is the row drawn; rename that field of {sorted(fields)}")
    index = jax.random.randint(key, (batch_size,), 0, num_rows, dtype=jnp.int32)
    return {**take(fields, index), "index": index}
