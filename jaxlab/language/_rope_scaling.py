"""Rotary frequencies for contexts longer than those a model was first trained on."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError

_KINDS = ("linear", "dynamic", "yarn", "llama3", "longrope")


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """How a `Decoder` stretches its rotary positions, as `rope_scaling` in a Hugging Face configuration says.

    With D the size of a head, `f_i = base^(-2 i / D)`, s the `factor` and C the `original_context`:

        linear    f_i / s
        dynamic   f_i of the base  base (s L / C - s + 1)^(D / (D - 2))  in sequences of length L > C
        yarn      f_i (1 - r_i) + r_i f_i / s,  r a ramp over the channels from `beta_fast` to `beta_slow` turns in C
        llama3    f_i, or f_i / s where less than `low_frequency_factor` turns fit in C, a blend in between
        longrope  f_i / `short_factors`_i, or f_i / `long_factors`_i in sequences longer than C

    Cosines and sines are multiplied by the `attention_factor`. "dynamic" and "longrope" look at the length of each
    row. `apply` and `prefill` turn a whole row by its own length. `decode` and `extend` turn each new token by the
    length up to it, and leave the cache as it is: what `sample` reports and `completion_hidden` scores agree, but
    beyond C they are not what one `apply` over both gives. That is so in transformers too.

    Attributes:
      kind: "linear", "dynamic", "yarn", "llama3" or "longrope".
      factor: s, positive.
      original_context: C; needed by all kinds but "linear".
      low_frequency_factor, high_frequency_factor: of "llama3", turns in C.
      beta_fast, beta_slow: of "yarn", turns in C.
      truncate: of "yarn", whether the ramp begins and ends at whole channels.
      attention_factor: None means `0.1 log(s) + 1` for "yarn" with s > 1, `sqrt(1 + log(s) / log(C))` for "longrope"
        with s > 1, and else 1.
      short_factors, long_factors: of "longrope", D / 2 numbers each.

    Raises:
      ValueError: an unknown kind, a number out of its range, or one that the kind needs and that is missing.

    Reference: Chen et al., Position Interpolation (2023) for "linear"; Peng et al., YaRN, 2023, sections 3.1 and 3.2
      for "dynamic" and "yarn"; The Llama 3 Herd of Models, 2024, section 3.2; Ding et al., LongRoPE, 2024. The
      equations are those of transformers.

    >>> from jaxlab.language import Decoder
    >>> Decoder(vocab_size=5, rope_scaling=RopeScaling("yarn", factor=4.0, original_context=512)).rope_scaling.factor
    4.0
    """

    kind: str
    factor: float = 1.0
    original_context: int | None = None
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention_factor: float | None = None
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise InputError(f"rope scaling is {self.kind!r}: it must be one of {', '.join(_KINDS)}")
        positive = {"factor": (self.factor,)}
        if self.attention_factor is not None:
            positive["attention_factor"] = (self.attention_factor,)
        if self.kind == "llama3":
            positive["low_frequency_factor"] = (self.low_frequency_factor,)
            positive["high_frequency_factor"] = (self.high_frequency_factor,)
        if self.kind == "yarn":
            positive |= {"beta_fast": (self.beta_fast,), "beta_slow": (self.beta_slow,)}
        if self.kind == "longrope":
            positive |= {"short_factors": self.short_factors, "long_factors": self.long_factors}
        for name, values in positive.items():
            for value in values:
                if not 0 < value < math.inf:
                    raise InputError(
                        f"{name} of rope scaling {self.kind!r} is {value}: it must be a positive number"
                    )
        if self.kind != "linear" and (self.original_context is None or self.original_context < 2):
            raise InputError(
                f"original_context of rope scaling {self.kind!r} is {self.original_context}: it must be at least 2"
            )
        for low, high in (("low_frequency_factor", "high_frequency_factor"), ("beta_slow", "beta_fast")):
            if not getattr(self, low) < getattr(self, high):
                values = f"{getattr(self, low)} and {getattr(self, high)}"
                raise InputError(
                    f"{low} and {high} of rope scaling are {values}: the first must be the smaller one"
                )

    @property
    def by_length(self) -> bool:
        """Whether the frequencies depend on the length of a sequence."""
        return self.kind == "dynamic" or (self.kind == "longrope" and self.short_factors != self.long_factors)

    @property
    def amplitude(self) -> float:
        """What cosines and sines are multiplied by."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.factor > 1 and self.kind == "yarn":
            return 0.1 * math.log(self.factor) + 1
        if self.factor > 1 and self.kind == "longrope":
            return math.sqrt(1 + math.log(self.factor) / math.log(self.original_context))
        return 1.0

    def check(self, head_dim: int, base: float) -> None:
        """One line about a head or a base for which the frequencies are not defined."""
        if self.kind == "dynamic" and head_dim < 4:
            raise InputError(f"head_dim is {head_dim}: dynamic rope scaling needs at least 4")
        if self.kind == "yarn" and base <= 1:
            raise InputError(f"rope_base is {base}: YaRN needs one above 1")
        if self.kind == "longrope":
            for name in ("short_factors", "long_factors"):
                count = len(getattr(self, name))
                if count != head_dim // 2:
                    raise InputError(
                        f"{name} of rope scaling are {count} numbers: half of head_dim is {head_dim // 2}"
                    )


def scaled_frequencies(scaling: RopeScaling, head_dim: int, base: float, lengths: jax.Array) -> jax.Array:
    """Frequencies `[head_dim / 2]`, or `[..., head_dim / 2]` for `lengths` `[...]` where they depend on them."""
    exponents = np.arange(0, head_dim, 2) / head_dim
    if scaling.kind == "dynamic":
        context, factor = scaling.original_context, scaling.factor
        length = jnp.maximum(lengths, context).astype(jnp.float32)
        bases = base * (factor * length / context - (factor - 1)) ** (head_dim / (head_dim - 2))
        return bases[..., None] ** -exponents.astype(np.float32)
    plain = float(base) ** -exponents
    if scaling.kind == "longrope":
        short, long = (
            jnp.asarray(plain / np.array(factors), jnp.float32)
            for factors in (scaling.short_factors, scaling.long_factors)
        )
        if not scaling.by_length:
            return short
        return jnp.where((lengths > scaling.original_context)[..., None], long, short)
    scale = {"linear": _linear, "yarn": _yarn, "llama3": _llama3}[scaling.kind]
    return jnp.asarray(scale(scaling, plain, base), jnp.float32)


def _linear(scaling: RopeScaling, plain: np.ndarray, base: float) -> np.ndarray:
    return plain / scaling.factor


def _yarn(scaling: RopeScaling, plain: np.ndarray, base: float) -> np.ndarray:
    head_dim = 2 * len(plain)

    def channel(turns: float) -> float:
        """The channel, counted in pairs, that turns so often in the original context."""
        return head_dim * math.log(scaling.original_context / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = channel(scaling.beta_fast), channel(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    ramp = np.clip((np.arange(len(plain)) - low) / (high - low if high != low else 0.001), 0, 1)
    return plain * (1 - ramp) + plain / scaling.factor * ramp


def _llama3(scaling: RopeScaling, plain: np.ndarray, base: float) -> np.ndarray:
    turns = scaling.original_context * plain / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return plain * kept + plain / scaling.factor * (1 - kept)
