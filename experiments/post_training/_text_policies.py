"""Policies that read text: a small decoder over characters, or a pretrained one from a GGUF file; whole or by LoRA."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from experiments.post_training._text_tasks import TextTask
from jaxlab.core import InputError
from jaxlab.language import (
    CharacterTokenizer,
    Decoder,
    attach_lora,
    init_lora,
    load_gguf,
    load_tokenizer,
    smollm2_path,
)


class TextPolicy(NamedTuple):
    """A model, its tokenizer, and which part of it is trained.

    Attributes:
      model: the shape.
      tokenizer: text to ids and back.
      init: `key -> params`, where the trained part starts.
      base: what is not trained; `{}` when everything is.
      attach: `(params, base) -> ` the decoder's parameters.
      prompts: `item -> text` as the model is to see it.
    """

    model: Decoder
    tokenizer: Any
    init: Callable[[jax.Array], Any]
    base: Any
    attach: Callable[[Any, Any], Any]
    prompts: dict[int, str]


def text_policy(config: ConfigDict, task: TextTask) -> TextPolicy:
    """The policy of a config for the questions of a task."""
    spec = config.model
    if spec.source not in ("characters", "gguf"):
        raise InputError(f"model.source is {spec.source!r}: it must be characters or gguf")
    if spec.source == "gguf":
        path = spec.path or smollm2_path()
        tokenizer = load_tokenizer(path)
        prompts = _prompts(config.prompt, task, tokenizer)
        model, pretrained = load_gguf(path)
        weights = lambda key: pretrained
    else:
        prompts = _prompts(config.prompt, task)
        known = "".join([*prompts.values(), *(answer or "" for answer in task.answers.values())])
        tokenizer = CharacterTokenizer("".join(sorted(set(known))))
        model = Decoder(vocab_size=tokenizer.vocab_size, **spec.shape.to_dict())
        weights = model.init
    if not spec.lora.rank:
        return TextPolicy(model, tokenizer, weights, {}, lambda params, base: params, prompts)
    adapters = lambda key: init_lora(key, model, rank=spec.lora.rank, targets=tuple(spec.lora.targets))
    jax.eval_shape(adapters, jax.random.key(0))  # a wrong rank or target is found now
    attach = lambda params, base: attach_lora(base, params, alpha=spec.lora.alpha)
    return TextPolicy(model, tokenizer, adapters, weights(jax.random.key(0)), attach, prompts)


def _prompts(spec: ConfigDict, task: TextTask, tokenizer: Any = None) -> dict[int, str]:
    """Each question in its template, and in the model's own chat template if the config says so."""
    if spec.template.count("{question}") != 1:
        raise InputError(f"prompt.template is {spec.template!r}: it must contain {{question}} once")
    texts = {item: spec.template.replace("{question}", text) for item, text in task.questions.items()}
    if not spec.chat:
        return texts
    if tokenizer is None:
        raise InputError("prompt.chat is True: only a model with a chat template can be asked that way")
    before = [{"role": "system", "content": spec.system}] if spec.system else []
    return {
        item: tokenizer.chat([*before, {"role": "user", "content": text}]) for item, text in texts.items()
    }
