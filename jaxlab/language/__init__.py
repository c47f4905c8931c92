"""Language models as plain pytrees and pure functions."""

from jaxlab.language._cache import Cache
from jaxlab.language._characters import CharacterTokenizer
from jaxlab.language._checkpoint_files import load_hugging_face, save_hugging_face
from jaxlab.language._completions import completion_hidden
from jaxlab.language._decoder import (
    Decoder,
    output_matrix,
    pack_for_decoding,
    token_positions,
)
from jaxlab.language._ends import end_ids
from jaxlab.language._gguf import gguf_chat_template, load_gguf, smollm2_path
from jaxlab.language._layer_stack import stack_layers
from jaxlab.language._layers import LowRank
from jaxlab.language._lora import attach_lora, init_lora, merge_lora
from jaxlab.language._lora_files import load_lora, save_lora
from jaxlab.language._rope_pairs import convert_rope_pairs
from jaxlab.language._rope_scaling import RopeScaling
from jaxlab.language._rounding import round_weights
from jaxlab.language._sampler import Rollout, check_sampling, filter_logits, sample
from jaxlab.language._sharding import sharding_rules
from jaxlab.language._token_divergence import token_divergence
from jaxlab.language._token_log_probs import token_log_probs, token_statistics
from jaxlab.language._tokenizer import Tokenizer, check_vocabulary
from jaxlab.language._tokenizer_files import load_tokenizer, save_tokenizer

__all__ = [
    "Cache",
    "CharacterTokenizer",
    "Decoder",
    "LowRank",
    "Rollout",
    "RopeScaling",
    "Tokenizer",
    "attach_lora",
    "check_sampling",
    "check_vocabulary",
    "completion_hidden",
    "convert_rope_pairs",
    "end_ids",
    "filter_logits",
    "gguf_chat_template",
    "init_lora",
    "load_gguf",
    "load_hugging_face",
    "load_lora",
    "load_tokenizer",
    "merge_lora",
    "output_matrix",
    "pack_for_decoding",
    "round_weights",
    "sample",
    "save_hugging_face",
    "save_lora",
    "save_tokenizer",
    "sharding_rules",
    "smollm2_path",
    "stack_layers",
    "token_divergence",
    "token_log_probs",
    "token_positions",
    "token_statistics",
]
