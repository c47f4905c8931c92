"""Sequences of tasks for continual learning, as pure data: split classes, permuted pixels, turned images.

A batch follows from the key of the seed and the step alone, so a stream needs no memory:

    stream = split_classes(images, 5, scenario="class")
    steps = task_steps(stream, batch_size=10)
    Experiment({"train": stream, ...}, stream=functools.partial(task_batch, batch_size=10, steps_per_task=steps), ...)

Three scenarios say what a label is and which outputs compete. A task has up to c classes, all of them together C:

    domain    the class within the task, in [0, c);   all c outputs: which task it is stays unknown, and does not matter
    class     the class among all, in [0, C);         all C outputs: which task it is has to be found out
    task      the class among all, in [0, C);         the outputs of the example's own task: which one it is is told
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import permute_index
from jaxlab.core._values import check_values, concrete
from jaxlab.core.check import InputError, as_integers, check_choice
from jaxlab.data._images import Images, check_channels_last
from jaxlab.data._views import _corners

SCENARIOS = ("class", "domain", "task")
"""The names of the three scenarios of continual learning."""


class TaskStream(NamedTuple):
    """T tasks on one set of images; a pytree, made by `split_classes`, `permuted_pixels` or `turned_images`.

    Args:
        images: the whole set, `[N, H, W, C]` and `[N]`, shared by all tasks.
        rows: `[N]` int32, the rows of the set, those of a task side by side.
        begin: `[T]` int32, where in `rows` a task begins.
        size: `[T]` int32, how many rows it has.
        labels: `[T, L]` int32, what a label of the set becomes in a task; -1 where the task does not have it.
        own: `[T, outputs]` bool, the outputs that a task's labels stand for.
        head: `[T, outputs]` bool, the outputs that compete in a task.
        pixels: `[T, H W]` int32, from where each pixel comes, or None.
        angle: `[T]` float32 degrees, or None.
    """

    images: Images
    rows: jax.Array
    begin: jax.Array
    size: jax.Array
    labels: jax.Array
    own: jax.Array
    head: jax.Array
    pixels: jax.Array | None = None
    angle: jax.Array | None = None


def split_classes(
    images: Images,
    num_tasks: int,
    *,
    scenario: str = "class",
    num_classes: int | None = None,
    order: jax.Array | None = None,
) -> TaskStream:
    """Every task has classes of its own; together they have all.

    The classes are dealt out in order, equally many to each task; where they do not divide, the first tasks get one
    more. Tasks may have different numbers of examples. A single task is the whole set.

    Args:
        images: labels in [0, num_classes).
        num_tasks: T, static, in [1, num_classes].
        scenario: one of `SCENARIOS`.
        num_classes: static; None takes the largest label that is known, plus 1.
        order: `[num_classes]` a permutation of the classes, the first task's first; may be traced. None is 0, 1, 2, ...

    Returns:
        The stream; it has c outputs in the scenario "domain" and `num_classes` in the others.

    Raises:
        ValueError: images without a row, labels outside of [0, num_classes), more tasks than classes, a task without
            examples, an order that is no permutation, or a scenario that does not exist.

    Reference: van de Ven and Tolias, Three scenarios for continual learning, 2019, split MNIST.

    >>> from jaxlab.data import digits, split_classes
    >>> split_classes(digits(), 5).size.tolist()
    [360, 360, 363, 360, 354]
    """
    labels, num_classes = _check(images, num_tasks, scenario, num_classes)
    if num_tasks > num_classes:
        raise InputError(f"num_tasks must be at most the {num_classes} classes, got {num_tasks}")
    order = (
        np.arange(num_classes) if order is None else as_integers("order", order, "the classes", num_classes)
    )
    if np.shape(order) != (num_classes,):
        raise InputError(
            f"order must have shape ({num_classes},), one entry for each class, got {np.shape(order)}"
        )
    check_values(_is_no_permutation, order)
    groups = np.array_split(np.arange(num_classes), num_tasks)
    task_of_place = np.repeat(np.arange(num_tasks), [len(group) for group in groups])
    within = np.concatenate([np.arange(len(group)) for group in groups])
    place = jnp.zeros(num_classes, jnp.int32).at[order].set(jnp.arange(num_classes, dtype=jnp.int32))
    task_of = jnp.asarray(task_of_place)[place]  # of each class
    has = task_of == jnp.arange(num_tasks)[:, None]
    if scenario == "domain":
        width, new = len(groups[0]), jnp.asarray(within)[place]
    else:
        width, new = num_classes, jnp.arange(num_classes)
    own = (jax.nn.one_hot(new, width, dtype=jnp.int32).T @ has.T.astype(jnp.int32)).T > 0
    size = jnp.sum((task_of[labels] == jnp.arange(num_tasks)[:, None]), 1, dtype=jnp.int32)
    check_values(_is_without_examples, size)
    return TaskStream(
        images,
        jnp.argsort(task_of[labels], stable=True).astype(jnp.int32),
        jnp.cumsum(size) - size,
        size,
        jnp.where(has, new, -1).astype(jnp.int32),
        own,
        own if scenario == "task" else jnp.ones_like(own),
    )


def permuted_pixels(
    images: Images,
    num_tasks: int,
    key: jax.Array,
    *,
    scenario: str = "domain",
    num_classes: int | None = None,
) -> TaskStream:
    """Every task has all images, with their pixels in an order of its own; the first keeps them as they are.

    Args:
        images: labels in [0, num_classes).
        num_tasks: T, static, at least 1.
        key: of the orders; channels of a pixel stay together.
        scenario: one of `SCENARIOS`; in "class" and "task" the classes of different tasks are different outputs.
        num_classes: static; None takes the largest label that is known, plus 1.

    Returns:
        The stream; it has `num_classes` outputs in the scenario "domain" and T times as many in the others.

    Raises:
        ValueError: as `split_classes`.

    Reference: van de Ven and Tolias, Three scenarios for continual learning, 2019, permuted MNIST.

    >>> import jax
    >>> from jaxlab.data import digits, permuted_pixels
    >>> permuted_pixels(digits(), 3, jax.random.key(0)).pixels.shape
    (3, 64)
    """
    stream = _all_images(images, num_tasks, scenario, num_classes)
    count = images.image.shape[1] * images.image.shape[2]
    keys = jax.random.split(key, num_tasks)
    orders = jax.vmap(lambda key: jax.random.permutation(key, count))(keys).at[0].set(jnp.arange(count))
    return stream._replace(pixels=orders.astype(jnp.int32))


def turned_images(
    images: Images, angles: Any, *, scenario: str = "domain", num_classes: int | None = None
) -> TaskStream:
    """Every task has all images, turned by an angle of its own around the centre; zeros come in, bilinear.

    Args:
        images: labels in [0, num_classes).
        angles: `[T]` degrees, at least one; may be traced. 0 leaves an image as it is.
        scenario: one of `SCENARIOS`; in "class" and "task" the classes of different tasks are different outputs.
        num_classes: static; None takes the largest label that is known, plus 1.

    Returns:
        The stream; it has `num_classes` outputs in the scenario "domain" and T times as many in the others.

    Raises:
        ValueError: as `split_classes`, or angles that are not `[T]`.

    Reference: Lopez-Paz and Ranzato, Gradient Episodic Memory for Continual Learning, 2017, rotated MNIST.

    >>> from jaxlab.data import digits, turned_images
    >>> turned_images(digits(), (0, 45, 90)).size.tolist()
    [1797, 1797, 1797]
    """
    angle = jnp.asarray(angles, jnp.float32)
    if angle.ndim != 1:
        raise InputError(f"angles must be [T], one for each task, got {angle.shape}")
    return _all_images(images, len(angle), scenario, num_classes)._replace(angle=angle)


def _all_images(images: Images, num_tasks: int, scenario: str, num_classes: int | None) -> TaskStream:
    labels, num_classes = _check(images, num_tasks, scenario, num_classes)
    own = np.repeat(np.eye(num_tasks, dtype=bool), num_classes, axis=1)
    table = np.arange(num_tasks * num_classes).reshape(num_tasks, num_classes)
    if scenario == "domain":
        own, table = np.ones((num_tasks, num_classes), bool), np.tile(table[0], (num_tasks, 1))
    return TaskStream(
        images,
        jnp.arange(len(labels), dtype=jnp.int32),
        jnp.zeros(num_tasks, jnp.int32),
        jnp.full(num_tasks, len(labels), jnp.int32),
        jnp.asarray(table, jnp.int32),
        jnp.asarray(own),
        jnp.asarray(own if scenario == "task" else np.ones_like(own)),
    )


def _check(images: Images, num_tasks: int, scenario: str, num_classes: int | None) -> tuple[jax.Array, int]:
    """The labels, and how many classes there are."""
    check_choice("scenario", scenario, SCENARIOS)
    shape = jnp.shape(images.image)
    if len(shape) != 4 or np.shape(images.label) != shape[:1]:
        raise InputError(
            f"images must be [N, H, W, C] with labels [N], got {shape} and {np.shape(images.label)}"
        )
    check_channels_last("image", shape)
    if num_tasks < 1:
        raise InputError(f"num_tasks must be at least 1, got {num_tasks}")
    if shape[0] == 0:
        raise InputError("a stream of tasks needs a data set with at least one row, got 0")
    if num_classes is None:
        known = concrete(images.label)
        if known is None:
            raise InputError("num_classes must be given where labels are traced")
        num_classes = max(int(known.max()) + 1, 1)
    labels = as_integers("label", images.label, "classes in [0, num_classes)", num_classes)
    return labels, num_classes


def _is_no_permutation(order: np.ndarray) -> str | None:
    wrong = (np.sort(order) != np.arange(len(order))).any()
    return f"order must be a permutation of the classes, got {order.tolist()}" if wrong else None


def _is_without_examples(size: np.ndarray) -> str | None:
    empty = np.flatnonzero(size == 0)
    return f"task {empty[0]} of {len(size)} has no examples: leave its classes out" if len(empty) else None


def task_steps(stream: TaskStream, *, batch_size: int, passes: int = 1, multiple_of: int = 1) -> int:
    """How many steps each task needs, so that the largest is gone through as often as said. On the host.

    Args:
        stream: with known sizes.
        batch_size: at least 1.
        passes: over the examples of a task, at least 1.
        multiple_of: rounds up, to the `log_every` of a plan whose turns are at the ends of tasks.

    Returns:
        A number for `task_batch`; all tasks together take T times as many.

    Raises:
        ValueError: a number below 1, or traced sizes.

    >>> from jaxlab.data import digits, split_classes, task_steps
    >>> task_steps(split_classes(digits(), 5), batch_size=10)
    37
    """
    if min(batch_size, passes, multiple_of) < 1:
        raise InputError(
            f"batch_size {batch_size}, passes {passes} and multiple_of {multiple_of} must be at least 1"
        )
    known = concrete(stream.size)
    if known is None:
        raise InputError("task_steps needs known sizes: call it outside of jit")
    needed = -(-int(known.max()) * passes // batch_size)
    return -(-needed // multiple_of) * multiple_of


def task_batch(
    stream: TaskStream,
    key: jax.Array,
    step: jax.Array,
    *,
    batch_size: int,
    steps_per_task: int,
    passes: int = 1,
) -> dict[str, jax.Array]:
    """The batch of a step: for `Experiment.stream`, whose key is that of the seed.

    Task `step // steps_per_task` is gone through without replacement, `passes` times, each time in an order that
    follows from key, task and pass. Once it has been, the rest of its steps have nothing that counts, and so has what
    comes after the last task.

    Args:
        stream: of T tasks.
        key: `jax.random.key`.
        step: int, counted from 0.
        batch_size: static B, at least 1.
        steps_per_task: static, of `task_steps`; with fewer a task ends before it has been gone through.
        passes: static, at least 1.

    Returns:
        A dict of `"image"` `[B, H, W, C]`, `"label"` `[B]` (-1 for what does not count), `"classes"` `[outputs]` bool
        (which outputs compete), `"where"` `[B]` bool (which examples count), `"index"` `[B]` (rows) and `"task"`.

    Raises:
        ValueError: a number below 1.

    >>> import jax
    >>> from jaxlab.data import digits, split_classes, task_batch
    >>> batch = task_batch(split_classes(digits(), 5), jax.random.key(0), 40, batch_size=4, steps_per_task=37)
    >>> batch["image"].shape, int(batch["task"]), set(batch["label"].tolist()) <= {2, 3}
    ((4, 8, 8, 1), 1, True)
    """
    if min(batch_size, steps_per_task, passes) < 1:
        raise InputError(
            f"batch_size {batch_size}, steps_per_task {steps_per_task} and passes {passes} must be at least 1"
        )
    number, step = len(stream.size), jnp.asarray(step)
    over = step >= number * steps_per_task
    task = jnp.clip(step // steps_per_task, 0, number - 1).astype(jnp.int32)
    place = (step % steps_per_task) * batch_size + jnp.arange(batch_size)
    size = jnp.maximum(stream.size[task], 1)
    counts = (place < passes * stream.size[task]) & ~over
    own_key = jax.random.fold_in(key, task)
    order = lambda number, index: permute_index(
        jax.random.fold_in(own_key, number), index, len(stream.rows), below=size
    )
    index = jax.vmap(order)(place // size, place % size)
    return _examples(stream, task, stream.rows[stream.begin[task] + index], counts)


def task_examples(
    stream: TaskStream, task: int | jax.Array, *, size: int | None = None
) -> dict[str, jax.Array]:
    """All examples of one task, in the order of the set: for evaluation.

    Args:
        stream: of T tasks.
        task: in [0, T); may be traced if `size` is given.
        size: static, how many rows the result has; None takes exactly those of the task.

    Returns:
        A dict as that of `task_batch`; rows beyond the task's own do not count.

    Raises:
        ValueError: a task that does not exist, or traced sizes without `size`.

    >>> from jaxlab.data import digits, split_classes, task_examples
    >>> task_examples(split_classes(digits(), 5, scenario="domain"), 4)["label"].max().item()
    1
    """
    task = as_integers("task", task, "a task in [0, T)", len(stream.size))
    if size is None:
        known = concrete((stream.size[task],))
        if known is None:
            raise InputError("size must be given where the task or its size is traced")
        size = int(known[0])
    place = jnp.arange(size)
    rows = stream.rows[jnp.minimum(stream.begin[task] + place, len(stream.rows) - 1)]
    return _examples(stream, task.astype(jnp.int32), rows, place < stream.size[task])


def _examples(
    stream: TaskStream, task: jax.Array, rows: jax.Array, counts: jax.Array
) -> dict[str, jax.Array]:
    image = jnp.asarray(stream.images.image)[rows]
    shape = image.shape
    if stream.pixels is not None:
        flat = image.reshape(shape[0], -1, shape[-1])
        image = flat[:, stream.pixels[task]].reshape(shape)
    if stream.angle is not None:
        image = _turned(image, stream.angle[task])
    label = stream.labels[task, jnp.asarray(stream.images.label)[rows]]
    return {
        "image": image,
        "label": jnp.where(counts, label, -1),
        "classes": stream.head[task],
        "where": counts,
        "index": rows,
        "task": task,
    }


def _turned(image: jax.Array, degrees: jax.Array) -> jax.Array:
    """Turned around the centre."""
    height, width = image.shape[1:3]
    y, x = np.meshgrid(
        np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij"
    )
    cos, sin = jnp.cos(jnp.deg2rad(degrees)), jnp.sin(jnp.deg2rad(degrees))
    place = jnp.stack([cos * y + sin * x + (height - 1) / 2, cos * x - sin * y + (width - 1) / 2], -1)
    place = jnp.broadcast_to(place.reshape(1, -1, 2), (len(image), height * width, 2))
    return _corners(place.astype(jnp.float32), image).reshape(image.shape).astype(image.dtype)
