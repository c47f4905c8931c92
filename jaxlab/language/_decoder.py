"""A decoder of the Llama, Qwen2, Qwen3 and SmolLM2 shape: parameters are a plain pytree, the functions are pure."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxlab.core import as_float, split_rows
from jaxlab.core.check import InputError
from jaxlab.language._attention import cached_attention, causal_attention
from jaxlab.language._cache import Cache
from jaxlab.language._layer_stack import Params, over_caches, over_layers
from jaxlab.language._layers import LowRank, linear, rms_norm, rotary_angles, rotate
from jaxlab.language._rope_scaling import RopeScaling
from jaxlab.language._sharding import gathered, look_up


@dataclasses.dataclass(frozen=True)
class Decoder:
    """A causal language model's shape; its methods are pure functions of parameters that live elsewhere.

    Parameters are a dict: `embed [V, d]`, `norm [d]`, `output [d, V]` unless tied, and `layers`, a tuple with one dict
    per layer: `attention_norm`, `q`, `k`, `v`, `o`, `mlp_norm`, `gate`, `up`, `down`, and where the shape asks for
    them `q_bias`, `k_bias`, `v_bias`, `q_norm`, `k_norm`. Matrices are `[in, out]`. `layers` may also be one dict
    of stacked arrays `[L, ...]` (`stack_layers`): the layers are then scanned, which compiles faster when there
    are many. Everything is computed in the parameters' own type, but norms, softmax and logits, which use float32.

    Attributes:
      vocab_size: number of tokens V.
      width: d, the size of a hidden vector.
      num_layers: number of blocks.
      num_heads: query heads.
      num_kv_heads: key and value heads, a divisor of `num_heads`; None means as many.
      head_dim: size of a head; None means `width // num_heads`.
      mlp_width: hidden size of the gated MLP; None means `4 * width`.
      context: longest sequence.
      rope_base: base of the rotary frequencies.
      rope_pairs: "half" or "interleaved", which channels turn together.
      rope_scaling: how positions beyond those of the first training are squeezed in; None means not at all.
      norm_eps: inside the root of the norms.
      qkv_bias: biases on q, k and v (Qwen2).
      qk_norm: norms on each head's query and key (Qwen3).
      tied: the output matrix is the embedding's.
      remat: recompute each layer in the backward pass, for memory.

    Raises:
      ValueError: sizes that do not fit together, an unknown `rope_pairs`, a `rope_scaling` for other heads.

    Reference: Touvron et al., LLaMA, 2023, section 2.2; Qwen2 Technical Report, 2024, section 2.2; Qwen3 Technical
      Report, 2025, section 2.

    >>> model = Decoder(vocab_size=11, width=16, num_layers=2, num_heads=4, num_kv_heads=2)
    >>> params = model.init(jax.random.key(0))
    >>> model.logits(params, model.apply(params, jnp.array([[1, 2, 3]]))).shape
    (1, 3, 11)
    """

    vocab_size: int
    width: int = 64
    num_layers: int = 2
    num_heads: int = 4
    num_kv_heads: int | None = None
    head_dim: int | None = None
    mlp_width: int | None = None
    context: int = 2048
    rope_base: float = 10_000.0
    rope_pairs: str = "half"
    rope_scaling: RopeScaling | None = None
    norm_eps: float = 1e-6
    qkv_bias: bool = False
    qk_norm: bool = False
    tied: bool = True
    remat: bool = False

    def __post_init__(self) -> None:
        for name, value in (
            ("num_kv_heads", self.num_heads),
            ("head_dim", self.width // max(self.num_heads, 1)),
            ("mlp_width", 4 * self.width),
        ):
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        sizes = (
            "vocab_size",
            "width",
            "num_layers",
            "num_heads",
            "num_kv_heads",
            "head_dim",
            "mlp_width",
            "context",
        )
        for name in sizes:
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.num_heads % self.num_kv_heads:
            raise InputError(
                f"num_kv_heads is {self.num_kv_heads}: it must divide num_heads, {self.num_heads}"
            )
        if self.head_dim % 2:
            raise InputError(f"head_dim is {self.head_dim}: rotary positions need an even number")
        if self.rope_pairs not in ("half", "interleaved"):
            raise InputError(f"rope_pairs is {self.rope_pairs!r}: it must be 'half' or 'interleaved'")
        if self.rope_scaling is not None:
            self.rope_scaling.check(self.head_dim, self.rope_base)

    def shapes(self) -> dict[str, Any]:
        """The tree of parameters with a shape in the place of each array."""
        d, h, k, f = (
            self.width,
            self.num_heads * self.head_dim,
            self.num_kv_heads * self.head_dim,
            self.mlp_width,
        )
        layer = {
            "attention_norm": (d,), "q": (d, h), "k": (d, k), "v": (d, k), "o": (h, d),
            "mlp_norm": (d,), "gate": (d, f), "up": (d, f), "down": (f, d),
        }  # fmt: skip
        if self.qkv_bias:
            layer |= {"q_bias": (h,), "k_bias": (k,), "v_bias": (k,)}
        if self.qk_norm:
            layer |= {"q_norm": (self.head_dim,), "k_norm": (self.head_dim,)}
        output = {} if self.tied else {"output": (d, self.vocab_size)}
        return {"embed": (self.vocab_size, d), "layers": (layer,) * self.num_layers, "norm": (d,), **output}

    def init(self, key: jax.Array, *, dtype: Any = jnp.float32) -> dict[str, Any]:
        """Random parameters: matrices with deviation 1 / sqrt(inputs), embedding 0.02, norms 1, biases 0."""
        shapes = self.shapes()
        paths, tree = jax.tree_util.tree_flatten_with_path(shapes, is_leaf=_is_shape)

        def draw(index: int, path: Any, shape: tuple[int, ...]) -> jax.Array:
            name = path[-1].key
            if len(shape) == 1:
                return jnp.full(shape, 0.0 if name.endswith("bias") else 1.0, dtype)
            scale = 0.02 if name == "embed" else 1.0 / math.sqrt(shape[0])
            return (scale * jax.random.normal(jax.random.fold_in(key, index), shape)).astype(dtype)

        return jax.tree.unflatten(tree, [draw(index, *leaf) for index, leaf in enumerate(paths)])

    def apply(
        self,
        params: Params,
        tokens: jax.Array,
        positions: jax.Array | None = None,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """Hidden vectors of whole sequences, after the last norm.

        Args:
          params: see the class.
          tokens: `[B, T]` integers in [0, V).
          positions: `[B, T]` integers, for the rotary angles; None counts the valid tokens from 0.
          mask: `[B, T]` bool or {0, 1}, the tokens that exist, padding on either side; None means all.

        Returns:
          `[B, T, d]` in the type of the parameters; meaningless at masked positions, but finite.

        Raises:
          ValueError: shapes that disagree, or sequences longer than `context`.
        """
        angles, mask = self._check(tokens, positions, mask)
        return self._forward(params, tokens, angles, mask)[0]

    def logits(self, params: Params, hidden: jax.Array) -> jax.Array:
        """Scores `[..., V]` of the next token, float32, from hidden vectors `[..., d]`.

        For long sequences over a large vocabulary use `token_log_probs`, which never holds them all.
        """
        return as_float(hidden @ output_matrix(params).astype(hidden.dtype))

    def prefill(
        self,
        params: Params,
        tokens: jax.Array,
        positions: jax.Array | None = None,
        mask: jax.Array | None = None,
        *,
        capacity: int | None = None,
    ) -> tuple[jax.Array, Cache]:
        """`apply`, and the cache `decode` goes on from, with room for `capacity` positions in all."""
        angles, known = self._check(tokens, positions, mask)
        hidden, pairs = self._forward(params, tokens, angles, known, collect=True)
        length = tokens.shape[1]
        valid = jnp.ones(tokens.shape, bool) if known is None else known
        cache = Cache(*pairs, valid, jnp.int32(length))
        return hidden, cache.grown(max(capacity or length, length))

    def cache(self, batch: int, capacity: int, *, dtype: Any = jnp.float32) -> Cache:
        """An empty cache for `batch` rows of up to `capacity` positions."""
        empty = jnp.zeros((batch, self.num_kv_heads, capacity, self.head_dim), dtype)
        each = (empty,) * self.num_layers
        return Cache(each, each, jnp.zeros((batch, capacity), bool), jnp.int32(0))

    def angle_table(self, length: int) -> tuple[jax.Array, jax.Array]:
        """Cosines and sines `[length, head_dim / 2]` of the rotary angles of the first positions, for `decode`."""
        return rotary_angles(jnp.arange(length), self.head_dim, self.rope_base, self.rope_scaling)

    def decode(
        self,
        params: Params,
        cache: Cache,
        token: jax.Array,
        position: jax.Array,
        table: tuple[jax.Array, jax.Array] | None = None,
    ) -> tuple[jax.Array, Cache]:
        """Hidden vectors of one new token per row, and the cache that holds it too.

        Args:
          params: see the class; `packed` parameters are faster.
          cache: from `prefill`, `cache` or an earlier `decode`, with a free slot. A full one is the caller's
            mistake and would overwrite its last slot.
          token: `[B]` integers.
          position: `[B]` integers, each row's number of valid tokens so far.
          table: from `angle_table`, made outside a loop over tokens; None computes the angles here, which XLA does
            anew in every layer.

        Returns:
          `[B, d]` after the last norm, and the new cache.
        """
        x = split_rows(params["embed"][token][:, None])
        angles = self._angles(position[:, None], table)
        at = cache.length
        valid = jax.lax.dynamic_update_slice(cache.valid, jnp.ones((token.shape[0], 1), bool), (0, at))
        visible = valid & (jnp.arange(valid.shape[1]) <= at)

        def block(x: jax.Array, layer: Params, store: Callable) -> tuple[jax.Array, Any]:
            q, k, v = self._qkv(layer, x, angles)
            held, (keys, values) = store(k, v)
            seen = cached_attention(q[:, :, 0], keys, values, visible)
            x = x + linear(seen.reshape(x.shape[0], 1, -1), layer["o"])
            return split_rows(self._mlp(layer, x)), held

        x, (keys, values) = over_caches(block, x, params["layers"], (cache.keys, cache.values), at)
        hidden = rms_norm(x[:, 0], params["norm"], self.norm_eps)
        return hidden, Cache(keys, values, valid, at + 1)

    def extend(
        self, params: Params, cache: Cache, tokens: jax.Array, mask: jax.Array | None = None
    ) -> jax.Array:
        """Hidden vectors of several new tokens per row after what a full cache holds, differentiable through both.

        With `Cache.repeated` this is how many completions of one prompt are scored: the prompt is computed once,
        and its gradient is the sum over the completions.

        Args:
          params: see the class.
          cache: from `prefill`, without free slots.
          tokens: `[B, N]` integers.
          mask: `[B, N]` bool or {0, 1}, the tokens that exist; None means all.

        Returns:
          `[B, N, d]` after the last norm.

        Raises:
          ValueError: shapes that disagree, or more positions than the context in all.
        """
        before = cache.valid.shape[1]
        mask = self._check_mask(tokens, mask, before=before)
        if cache.valid.shape[0] != tokens.shape[0]:
            raise InputError(
                f"the cache has {cache.valid.shape[0]} rows and tokens {tokens.shape[0]}: they must agree"
            )
        whole = jnp.concatenate([cache.valid, jnp.ones(tokens.shape, bool) if mask is None else mask], axis=1)
        angles = self._angles(token_positions(whole)[:, before:], self.angle_table(whole.shape[1]))
        return self._forward(params, tokens, angles, whole, before=(cache.keys, cache.values))[0]

    def _forward(
        self,
        params: Params,
        tokens: jax.Array,
        angles: tuple[jax.Array, jax.Array],
        mask: jax.Array | None,
        *,
        collect: bool = False,
        before: tuple[Any, ...] = (),
    ) -> tuple[jax.Array, Any]:
        """Hidden vectors `[B, T, d]`, and with `collect` the keys and the values of every layer.

        `before` holds the keys and the values that come first, by layer; `mask` then covers both.
        """
        x = look_up(params["embed"], tokens)

        def block(x: jax.Array, layer: Params, *earlier: jax.Array) -> tuple[jax.Array, Any]:
            x, layer = split_rows(x), gathered(layer)
            q, k, v = self._qkv(layer, x, angles)
            if earlier:
                k, v = (jnp.concatenate(pair, axis=2) for pair in zip(earlier, (k, v)))
            seen = causal_attention(q, k, v, mask)
            x = x + linear(seen.transpose(0, 2, 1, 3).reshape(*tokens.shape, -1), layer["o"])
            return split_rows(self._mlp(layer, x)), (k, v) if collect else ()

        x, pairs = over_layers(jax.checkpoint(block) if self.remat else block, x, params["layers"], *before)
        return rms_norm(x, params["norm"], self.norm_eps), pairs

    def _check(
        self, tokens: jax.Array, positions: Any, mask: Any
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array | None]:
        """The rotary angles of the tokens and their mask; a shape that does not fit is an error."""
        mask = self._check_mask(tokens, mask)
        scaling, counted = self.rope_scaling, positions is None
        if counted:
            positions = token_positions(jnp.ones(tokens.shape, bool) if mask is None else mask)
        elif positions.shape != tokens.shape:
            raise InputError(f"positions {positions.shape} must have the shape of tokens, {tokens.shape}")
        if scaling is not None and scaling.by_length:
            seen = positions if mask is None else jnp.where(mask, positions, 0)
            lengths = jnp.max(seen, axis=1, keepdims=True) + 1
            return rotary_angles(positions, self.head_dim, self.rope_base, scaling, lengths), mask
        return self._angles(positions, self.angle_table(tokens.shape[1]) if counted else None), mask

    def _check_mask(self, tokens: jax.Array, mask: Any, *, before: int = 0) -> jax.Array | None:
        if tokens.ndim != 2 or tokens.shape[1] == 0:
            raise InputError(f"tokens {tokens.shape} must be [B, T] with at least one position")
        length = before + tokens.shape[1]
        if length > self.context:
            raise InputError(f"tokens have {length} positions: the model's context is {self.context}")
        if mask is None:
            return None
        if mask.shape != tokens.shape:
            raise InputError(f"mask {mask.shape} must have the shape of tokens, {tokens.shape}")
        return mask.astype(bool)

    def _angles(self, positions: jax.Array, table: Any = None) -> tuple[jax.Array, jax.Array]:
        if table is None:
            return rotary_angles(positions, self.head_dim, self.rope_base, self.rope_scaling)
        return tuple(part[positions] for part in table)

    def _qkv(self, layer: Params, x: jax.Array, angles: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries `[B, H, T, D]`, keys and values `[B, K, T, D]` of a layer, turned by their positions."""
        x = rms_norm(x, layer["attention_norm"], self.norm_eps)
        h, k = self.num_heads, self.num_kv_heads
        if "qkv" in layer:
            joint = linear(x, layer["qkv"], layer.get("qkv_bias"))
            parts = jnp.split(joint, [h * self.head_dim, (h + k) * self.head_dim], axis=-1)
        else:
            parts = [linear(x, layer[name], layer.get(f"{name}_bias")) for name in "qkv"]
        q, k, v = (
            part.reshape(*x.shape[:2], count, self.head_dim).transpose(0, 2, 1, 3)
            for part, count in zip(parts, (h, k, k))
        )
        if self.qk_norm:
            q = rms_norm(q, layer["q_norm"], self.norm_eps)
            k = rms_norm(k, layer["k_norm"], self.norm_eps)
        return rotate(q, angles, self.rope_pairs), rotate(k, angles, self.rope_pairs), v

    def _mlp(self, layer: Params, x: jax.Array) -> jax.Array:
        normed = rms_norm(x, layer["mlp_norm"], self.norm_eps)
        if "gate_up" in layer:
            gate, up = jnp.split(linear(normed, layer["gate_up"]), 2, axis=-1)
        else:
            gate, up = linear(normed, layer["gate"]), linear(normed, layer["up"])
        return x + linear(jax.nn.silu(gate) * up, layer["down"])


def _is_shape(node: Any) -> bool:
    return isinstance(node, tuple) and all(isinstance(size, int) for size in node)


def token_positions(mask: jax.Array) -> jax.Array:
    """Each token's position among the valid tokens of its row, for padding on either side.

        position_t = max(sum_{s <= t} mask_s - 1, 0)

    Args:
      mask: `[B, T]` bool or {0, 1}.

    Returns:
      `[B, T]` int32.

    >>> token_positions(jnp.array([[0, 0, 1, 1]])).tolist()
    [[0, 0, 0, 1]]
    """
    return jnp.maximum(jnp.cumsum(mask.astype(jnp.int32), axis=1) - 1, 0)


def output_matrix(params: Params) -> jax.Array:
    """The matrix `[d, V]` that turns hidden vectors into logits: its own, or the embedding transposed.

    Args:
      params: a `Decoder`'s.

    Returns:
      `[d, V]`.

    >>> output_matrix({"embed": jnp.zeros((11, 4))}).shape
    (4, 11)
    """
    return params["output"] if "output" in params else params["embed"].T


def pack_for_decoding(params: Params) -> dict[str, Any]:
    """Parameters for `decode`: adapters merged, q, k and v joined, gate and up joined.

    Fewer, larger products; worth it once per rollout. Not for training: the backward pass of the joined gate is slower.
    What an adapter is merged into is float32 then, whatever the type of the weights, and so is what it is joined with:
    in bfloat16 most of a young adapter would round away, and what is sampled would come from another policy than the
    one that learns.

    Args:
      params: a `Decoder`'s, adapters attached or not.

    Returns:
      A dict that `apply`, `prefill`, `decode` and `logits` accept.

    >>> model = Decoder(vocab_size=5, width=8, num_layers=1, num_heads=2, mlp_width=12)
    >>> sorted(pack_for_decoding(model.init(jax.random.key(0)))["layers"][0])
    ['attention_norm', 'down', 'gate_up', 'mlp_norm', 'o', 'qkv']
    """

    def pack(layer: Params) -> dict[str, Any]:
        plain = {name: w.merged() if isinstance(w, LowRank) else w for name, w in layer.items()}
        join = functools.partial(jnp.concatenate, axis=-1)
        packed = {"qkv": join([plain.pop(name) for name in "qkv"])}
        packed["gate_up"] = join([plain.pop("gate"), plain.pop("up")])
        if "q_bias" in plain:
            packed["qkv_bias"] = join([plain.pop(f"{name}_bias") for name in "qkv"])
        return packed | plain

    layers = params["layers"]
    packed = jax.vmap(pack)(layers) if isinstance(layers, Mapping) else tuple(map(pack, layers))
    return {**params, "layers": packed}
