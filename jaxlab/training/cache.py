"""The persistent compilation cache: what was compiled once is not compiled again by the next process."""

import os
import pathlib

import jax


def enable_compilation_cache() -> None:
    """Keep compiled programs under `$XDG_CACHE_HOME/jaxlab/xla` (default `~/.cache`).

    `JAX_COMPILATION_CACHE_DIR`, when set, wins. A folder that cannot be written only costs the time to compile.
    """
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "jaxlab" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
