"""What an installation brings: the library, and no tool of its tests."""

import configparser
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def _names(requirements: str) -> set[str]:
    return {re.split(r"[<>=!~\[ ]", line)[0].lower() for line in requirements.split("\n") if line.strip()}


def test_an_installation_pulls_no_test_tool():
    needed, tools = (
        _names(SETUP["options"]["install_requires"]),
        _names(SETUP["options.extras_require"]["dev"]),
    )
    assert {"jax", "optax", "flax"} <= needed
    assert {"pytest", "hypothesis", "ruff"} <= tools
    assert not needed & tools


def test_importing_everything_needs_only_what_an_installation_brings():
    """In a process of its own: every room imports, and no extra came along."""
    extras = SETUP["options.extras_require"]
    own = {name.replace("-", "_") for extra in extras for name in _names(extras[extra])}
    own |= {"sklearn", "tensorboardX"}
    rooms = sorted(path.parent.name for path in (ROOT / "jaxlab").glob("*/__init__.py"))
    code = f"import sys; {'; '.join(f'import jaxlab.{room}' for room in rooms)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert own & set(done.stdout.split()) <= {
        "psutil"
    }  # orbax looks at the machine with it where it is there


@pytest.mark.slow
def test_the_wheel_is_the_library_and_works_alone(tmp_path):
    """What `pip install .` installs: built from a copy, unpacked elsewhere, imported with nothing of the checkout."""
    source, place = tmp_path / "source", tmp_path / "site"
    for name in ("jaxlab", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, source / name)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        ".",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(tmp_path),
    ]
    subprocess.run(build, cwd=source, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(place)
        names = packed.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"jaxlab"}
    assert {"jaxlab/py.typed", "jaxlab/data/sight/labels.npz", "jaxlab/data/sight/LICENSE"} <= set(names)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "jaxlab").rglob("*.py")}
    assert modules <= set(names)
    (metadata,) = (place / name for name in names if name.endswith("METADATA"))
    needed = [
        line
        for line in metadata.read_text().splitlines()
        if line.startswith("Requires-Dist") and "extra" not in line
    ]
    assert len(needed) >= 8
    assert not [line for line in needed if re.search("pytest|hypothesis|ruff|torch", line)]
    code = (
        "import jaxlab, jaxlab.core, jax.numpy as jnp, sys; print(jaxlab.__file__); "
        "print(float(jaxlab.core.forward_kl(jnp.zeros(2), jnp.zeros(2)))); assert 'pytest' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(place)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split()[0].startswith(str(place))
    assert float(done.stdout.split()[1]) == 0.0


@pytest.mark.parametrize("name", ["numpy", "optax", "orbax-checkpoint", "pytest", "scikit-learn", "tqdm"])
def test_what_ci_ran_with_is_pinned(name):
    assert re.search(rf"^{name}==", (ROOT / "constraints.txt").read_text(), re.MULTILINE | re.IGNORECASE)


def test_a_room_loads_when_it_is_named():
    """In a process of its own: `import jaxlab` brings no JAX, and the rooms come without an import of their own."""
    code = (
        "import sys, jaxlab; assert 'jax' not in sys.modules and 'distillation' in dir(jaxlab); "
        "print(jaxlab.distillation.kd_loss.__name__, hasattr(jaxlab, 'distilation'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["kd_loss", "False"]
