"""An event camera: pixels that report changes of log intensity, and streams of them that can be turned around."""

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError, check_positive


def camera_events(log_intensity: jax.Array, *, threshold: float | jax.Array = 0.2) -> jax.Array:
    """The events of every pixel between consecutive frames, counted with their sign.

    A pixel remembers the level at which it fired last, and fires once for every threshold that the intensity has
    moved away from it. So slow changes are not lost, they fire later.

        n_t = trunc((L_t - reference) / threshold),  reference <- reference + n_t threshold,  reference = L_0 first

    Args:
        log_intensity: `[T, ...]` frames of log intensity, T at least 2.
        threshold: positive; one event stands for this change of log intensity.

    Returns:
        int32 `[T - 1, ...]`: positive where it grew brighter, negative where darker; row t belongs to frame t + 1.

    Raises:
        ValueError: fewer than two frames, or a static threshold that is not positive.

    Reference: Rebecq, Gehrig and Scaramuzza, ESIM: an Open Event Camera Simulator, 2018, equation 1, here at the
      frames' times.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import camera_events
    >>> camera_events(jnp.array([0.0, 0.3, 0.5, -0.1]), threshold=0.25).tolist()
    [1, 1, -2]
    """
    log_intensity = jnp.asarray(log_intensity, jnp.float32)
    if not log_intensity.ndim or log_intensity.shape[0] < 2:
        raise InputError(f"camera_events needs frames [T, ...] with T at least 2, got {log_intensity.shape}")
    check_positive("threshold", threshold)

    def fire(reference: jax.Array, level: jax.Array) -> tuple[jax.Array, jax.Array]:
        count = jnp.trunc((level - reference) / threshold)
        return reference + count * threshold, count.astype(jnp.int32)

    return jax.lax.scan(fire, log_intensity[0], log_intensity[1:])[1]


def reverse_counts(counts: jax.Array) -> jax.Array:
    """The events that the same film would give when shown backwards.

        n'_t = -n_{T - 1 - t}

    Args:
        counts: `[T, ...]`, as from `camera_events`.

    Returns:
        The same shape and type; reversing twice gives back what it was.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points, 2024, section 3: time and polarity are turned around.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import reverse_counts
    >>> reverse_counts(jnp.array([1, 1, -2])).tolist()
    [2, -1, -1]
    """
    return -jnp.flip(counts, axis=0)


def reverse_events(events: jax.Array, where: jax.Array | None = None) -> jax.Array:
    """A list of events shown backwards: the last one first, brighter for darker.

        (x, y, t, p) -> (x, y, t_last - t, 1 - p), in the opposite order

    Args:
        events: `[N, 4]` of x, y, t, p, with p 1 for brighter and 0 for darker.
        where: `[N]` bool or {0, 1}, the rows that hold an event; None means all. t_last is theirs.

    Returns:
        `[N, 4]` in the opposite order of rows, so `where` turns around with them; rows without an event are 0.
        Reversing twice gives back the events, with times counted from the first one.

    Raises:
        ValueError: `events` is not `[N, 4]`, or `where` not `[N]`.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points, 2024, authors' code of the reversed stream.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import reverse_events
    >>> reverse_events(jnp.array([[0.0, 1.0, 0.0, 1.0], [2.0, 3.0, 0.5, 0.0]])).tolist()
    [[2.0, 3.0, 0.0, 1.0], [0.0, 1.0, 0.5, 0.0]]
    """
    events, where = _check_events(events, where)
    last = jnp.max(jnp.where(where, events[:, 2], -jnp.inf), initial=-jnp.inf)
    turned = jnp.stack([events[:, 0], events[:, 1], last - events[:, 2], 1 - events[:, 3]], axis=1)
    return jnp.where(where[:, None], turned, 0.0)[::-1]


def _check_events(events: jax.Array, where: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    events = jnp.asarray(events)
    if events.ndim != 2 or events.shape[1] != 4:
        raise InputError(f"events must be [N, 4] of x, y, t, p, got {events.shape}")
    where = jnp.ones(events.shape[0], bool) if where is None else jnp.asarray(where).astype(bool)
    if where.shape != events.shape[:1]:
        raise InputError(f"where {where.shape} must be [N] for events {events.shape}")
    return jnp.where(where[:, None], events, 0), where


def voxel_grid(
    events: jax.Array,
    *,
    bins: int,
    height: int,
    width: int,
    where: jax.Array | None = None,
    span: tuple[float, float] | None = None,
) -> jax.Array:
    """A list of events as an image: each spreads its sign over the nearest pixels and time bins.

    Linear weights in x, y and time, so an event between two pixels or bins is shared by them. An event outside of
    the image, or of the span, leaves only what reaches inside.

        t' = (bins - 1) (t - t_0) / (t_1 - t_0),  w(a, b) = max(0, 1 - |a - b|)
        V[y, x, b] = sum_i (2 p_i - 1) w(x, x_i) w(y, y_i) w(b, t'_i)

    Args:
        events: `[N, 4]` of x, y, t, p, with p 1 for brighter and 0 for darker, in the order of their times.
        bins: time bins.
        height, width: of the image.
        where: `[N]` bool or {0, 1}, the rows that hold an event; None means all.
        span: `(t_0, t_1)`, the times of the first and the last bin; None takes the first and the last event's.

    Returns:
        `[height, width, bins]` float32 (float64 for float64 events); zeros without events. All events of one
        time fall into bin 0.

    Raises:
        ValueError: `events` is not `[N, 4]`, `where` not `[N]`, or a size below 1.

    Reference: Zhu, Yuan, Chaney and Daniilidis, Unsupervised Event-Based Learning of Optical Flow, Depth, and
      Egomotion, 2019, equations 1 to 3; bilinear in x and y as well in E2VID's and DSEC's code.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import voxel_grid
    >>> events = jnp.array([[0.0, 0.0, 0.0, 1.0], [1.5, 0.0, 0.5, 0.0], [2.0, 0.0, 1.0, 1.0]])
    >>> voxel_grid(events, bins=2, height=1, width=3)[0].tolist()
    [[1.0, 0.0], [-0.25, -0.25], [-0.25, 0.75]]
    """
    events, where = _check_events(events, where)
    if min(bins, height, width) < 1:
        raise InputError(f"bins, height and width must be at least 1, got {bins}, {height} and {width}")
    events = events.astype(jnp.promote_types(events.dtype, jnp.float32))
    x, y, t, p = events.T
    first, last = span or _ends(t, where)
    length = last - first
    late = jnp.where(length > 0, (bins - 1) * (t - first) / jnp.where(length > 0, length, 1), 0.0)
    value = jnp.where(where, 2 * p - 1, 0.0)
    near = lambda at, count: jnp.maximum(1 - jnp.abs(at[:, None] - jnp.arange(count)), 0)
    return jnp.einsum("n,ny,nx,nb->yxb", value, near(y, height), near(x, width), near(late, bins))


def _ends(t: jax.Array, where: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (
        jnp.min(jnp.where(where, t, jnp.inf), initial=jnp.inf),
        jnp.max(jnp.where(where, t, -jnp.inf), initial=-jnp.inf),
    )


def count_voxels(counts: jax.Array, *, bins: int) -> jax.Array:
    """Counted events as an image: `voxel_grid` of a stream that is given frame by frame.

    Args:
        counts: `[T, H, W]`, as from `camera_events`; frame t happens at time t, the last bin at T - 1.
        bins: time bins.

    Returns:
        `[H, W, bins]` float32.

    Raises:
        ValueError: `counts` is not `[T, H, W]` with T at least 1, or `bins` below 1.

    Reference: Zhu, Yuan, Chaney and Daniilidis, Unsupervised Event-Based Learning of Optical Flow, Depth, and
      Egomotion, 2019, without its interpolation.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import count_voxels
    >>> count_voxels(jnp.array([1, 1, -2]).reshape(3, 1, 1), bins=2)[0, 0].tolist()
    [1.5, -1.5]
    """
    counts = jnp.asarray(counts)
    if counts.ndim != 3 or counts.shape[0] < 1 or bins < 1:
        raise InputError(
            f"count_voxels needs counts [T, H, W] and at least 1 bin, got {counts.shape} and {bins}"
        )
    late = jnp.arange(counts.shape[0]) * ((bins - 1) / max(counts.shape[0] - 1, 1))
    weight = jnp.maximum(1 - jnp.abs(late[:, None] - jnp.arange(bins)), 0).astype(jnp.float32)
    return jnp.einsum("thw,tb->hwb", counts.astype(jnp.float32), weight)
