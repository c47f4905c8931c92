"""The compilation cache lies where the user's caches lie, unless told otherwise."""

import jax
import pytest

from jaxlab.training import enable_compilation_cache


@pytest.fixture(autouse=True)
def _restore():
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_it_follows_xdg_and_an_explicit_choice_wins(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    enable_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "jaxlab" / "xla")
    jax.config.update("jax_compilation_cache_dir", "elsewhere")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    enable_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == "elsewhere"
