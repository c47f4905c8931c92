"""Eight host devices for every test, quick compilation, and a cache of it that outlives the run."""

import gc
import importlib.metadata
import os
import pathlib

# Most of a test is compilation, and its few steps need no optimized code; `make test-all` compiles the authors' numbers
# as users do, with JAX_DISABLE_MOST_OPTIMIZATIONS=0. The way in which XLA makes kernels by default takes twice as long.
# Another XLA might not know that flag, and a process with an unknown flag does not start.
quick = os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1"
flags = ["--xla_force_host_platform_device_count=8"]
if quick and importlib.metadata.version("jaxlib") == "0.10.2":
    flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *flags])
os.environ.setdefault("JAX_PLATFORMS", "cpu")
cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "jaxlab" / "xla"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax  # noqa: E402, after its settings
import pytest  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def _let_go_of_compiled_programs():
    """Compiled programs hold memory maps, of which a process may have 65,530: some thousand tests use them up."""
    yield
    jax.clear_caches()
    gc.collect()


def pytest_collection_finish() -> None:
    """What is imported stays: collecting garbage after every module need not walk through it again."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """`make test COSTS=1` counts what each file costs."""
    if os.environ.get("JAXLAB_TEST_COSTS"):
        from tests.costs import Costs

        config.pluginmanager.register(Costs(config))
