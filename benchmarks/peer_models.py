"""One small Qwen2 for jaxlab and for its peers: the same weights, read from one folder.

`python -m benchmarks.peer_models FOLDER NAME` writes it.
"""

import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

SHAPES = {
    # 3,674,368 parameters.
    "small": {
        "vocab_size": 2048, "width": 256, "num_layers": 4, "num_heads": 4, "num_kv_heads": 2, "mlp_width": 768,
    },
    "tiny": {
        "vocab_size": 64, "width": 64, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "mlp_width": 256,
    },
}  # fmt: skip


def jax_model(folder: str) -> tuple[Any, Any]:
    """The `Decoder` and its parameters."""
    from jaxlab.language import load_hugging_face

    return load_hugging_face(folder)


def jax_mesh(*, per_core: bool) -> Any:
    """One device that uses all cores, or one for each; call it before anything touches a device."""
    import jax

    from benchmarks.processes import THREADS
    from jaxlab.training.mesh import make_mesh

    if per_core:
        jax.config.update("jax_num_cpu_devices", THREADS)
    return make_mesh({"data": jax.device_count()})


def torch_model(folder: str) -> Any:
    """The same in transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    from benchmarks.processes import THREADS

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def word_tokenizer(vocab_size: int) -> Any:
    """Every token is a number written out: the plainest tokenizer a trainer of transformers takes."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({str(i): i for i in range(vocab_size)}, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="0", eos_token="1", unk_token="0")


def grpo_trainer(
    folder: str, *, prompts: list[str], reward: Callable[..., list[float]], **settings: Any
) -> Any:
    """TRL's trainer in float32 and without recomputation, which would only slow it down here; the rest as it comes."""
    import datasets
    from trl import GRPOConfig, GRPOTrainer

    model = torch_model(folder)
    config = GRPOConfig(
        output_dir=str(pathlib.Path(folder) / "trl"), use_cpu=True, bf16=False, gradient_checkpointing=False,
        report_to="none", save_strategy="no", disable_tqdm=True, **settings,
    )  # fmt: skip
    return GRPOTrainer(
        model, reward, args=config, train_dataset=datasets.Dataset.from_dict({"prompt": prompts}),
        processing_class=word_tokenizer(model.config.vocab_size),
    )  # fmt: skip


def write_model(folder: str, name: str) -> None:
    """Random weights, written by a process of its own."""
    subprocess.run([sys.executable, "-m", "benchmarks.peer_models", folder, name], check=True)


def _write(folder: str, name: str) -> None:
    import jax

    from jaxlab.language import Decoder, save_hugging_face

    model = Decoder(**SHAPES[name], qkv_bias=True)
    params = jax.jit(model.init)(jax.random.key(0))
    save_hugging_face(folder, model, params)
    print(f"{name}: {sum(x.size for x in jax.tree.leaves(params)):,} parameters")


if __name__ == "__main__":
    _write(*sys.argv[1:])
