"""From the tensors of a file to a decoder's parameters: names, shapes, and the check of both before data is read."""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.language._decoder import Decoder
from jaxlab.language._layer_stack import unstacked
from jaxlab.language._layers import LowRank


class Names(NamedTuple):
    """How a file format calls a decoder's tensors; `layer` names hold `{i}`, the layer's number."""

    top: Mapping[str, str]
    layer: Mapping[str, str]


class Slot(NamedTuple):
    """Where a tensor of a file goes: the layer (None outside of them), the key there, and its shape in the file."""

    layer: int | None
    key: str
    shape: tuple[int, ...]

    @property
    def transposed(self) -> bool:
        """Files hold matrices as `[out, in]`; the embedding is a table of rows in both worlds."""
        return len(self.shape) == 2 and self.key != "embed"


def slots(model: Decoder, names: Names) -> Iterator[tuple[str, Slot]]:
    """The tensors that a file of this model must hold."""
    shapes = dataclasses.replace(model, num_layers=1).shapes()  # cheap, however many layers a file claims
    (layer,) = shapes.pop("layers")
    for key, shape in shapes.items():
        yield names.top[key], Slot(None, key, shape if key == "embed" else shape[::-1])
    for i in range(model.num_layers):
        for key, shape in layer.items():
            yield names.layer[key].format(i=i), Slot(i, key, shape[::-1])


def check_tensors(
    where: Any,
    model: Decoder,
    names: Names,
    found: Mapping[str, tuple[int, ...]],
    ignored: Collection[str] = (),
) -> dict[str, Slot]:
    """The slot of every tensor, or one line about the first that is missing, misshapen or unknown."""
    expected = {}
    for name, slot in slots(model, names):
        if name not in found:
            raise InputError(f"{where}: tensor {name} is missing, it should be {slot.shape}")
        if tuple(found[name]) != slot.shape:
            raise InputError(
                f"{where}: tensor {name} is {tuple(found[name])}, the model's shape asks for {slot.shape}"
            )
        expected[name] = slot
    unknown = sorted(set(found) - set(expected) - set(ignored))
    if unknown:
        raise InputError(f"{where}: tensor {unknown[0]} has no place in this model ({len(unknown)} such)")
    return expected


def float_dtype(dtype: Any) -> np.dtype:
    """The numpy type that parameters are asked to have."""
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(f"dtype is {jnp.dtype(dtype)}: parameters are floating point numbers")
    return jnp.dtype(dtype)


def assemble(
    model: Decoder, expected: Mapping[str, Slot], read: Callable[[str], np.ndarray], dtype: np.dtype
) -> dict[str, Any]:
    """The parameters, one tensor after the other."""
    params: dict[str, Any] = {"layers": tuple({} for _ in range(model.num_layers))}
    for name, slot in expected.items():
        array = read(name)
        owned = np.array(array.T if slot.transposed else array, dtype, order="C")
        place = params if slot.layer is None else params["layers"][slot.layer]
        place[slot.key] = jnp.asarray(owned)
    return params


def check_params(model: Decoder, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with layers as a tuple, or one line about the first that does not fit the model."""
    params = {**params, "layers": unstacked(params["layers"])}
    if len(params["layers"]) != model.num_layers:
        raise InputError(f"params have {len(params['layers'])} layers: the model has {model.num_layers}")
    expected, found = _flat(model.shapes(), is_leaf=_is_leaf), _flat(params, is_leaf=_is_leaf)
    for path, leaf in found.items():
        if isinstance(leaf, LowRank):
            raise InputError(f"params{path} carries an adapter: call merge_lora first")
        if path not in expected:
            raise InputError(
                f"params{path} has no place in this model (packed parameters cannot be taken apart)"
            )
    for path, shape in expected.items():
        if path not in found:
            raise InputError(f"params{path} is missing, it should be {shape}")
        if tuple(found[path].shape) != shape:
            raise InputError(
                f"params{path} is {tuple(found[path].shape)}, the model's shape asks for {shape}"
            )
    return params


def _is_leaf(node: Any) -> bool:
    return isinstance(node, LowRank) or (isinstance(node, tuple) and all(isinstance(n, int) for n in node))


def _flat(tree: Any, is_leaf: Callable[[Any], bool]) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
