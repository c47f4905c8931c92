"""What an installation brings: the library, and no tool of its tests."""

import configparser
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
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
    # Where they are there, orbax looks at the machine with the one and JAX pickles functions with the other.
    assert own & set(done.stdout.split()) <= {"psutil", "cloudpickle"}


def test_an_extra_that_an_error_names_is_there():
    code = "".join(path.read_text() for path in (ROOT / "jaxlab").rglob("*.py"))
    named = set(re.findall(r"jaxlab\[(\w+)\]", code))
    assert {"language", "streams"} <= named <= set(SETUP["options.extras_require"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """What `pip install .` installs, built from a copy."""
    base = tmp_path_factory.mktemp("wheel")
    source = base / "source"
    kept = "jaxlab experiments configs results setup.cfg setup.py pyproject.toml README.md LICENSE"
    for name in kept.split():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, source / name)
    build = f"-m pip wheel . --no-deps --no-build-isolation -q -w {base}".split()
    subprocess.run([sys.executable, *build], cwd=source, check=True, capture_output=True, timeout=300)
    (built,) = base.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_is_the_library_and_works_alone(wheel, tmp_path):
    """Unpacked elsewhere, imported with nothing of the checkout."""
    place = tmp_path / "site"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(place)
        names = packed.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"jaxlab", "jaxlab_shipped"}
    assert {"jaxlab/py.typed", "jaxlab/data/sight/labels.npz", "jaxlab/data/sight/LICENSE"} <= set(names)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "jaxlab").rglob("*.py")}
    assert modules <= set(names)
    shipped = [
        path.relative_to(ROOT) for room in ("experiments", "configs") for path in (ROOT / room).rglob("*.py")
    ]
    assert {f"jaxlab_shipped/{path.as_posix()}" for path in shipped} <= set(names)
    assert "jaxlab_shipped/results/distillation/pld.json" in names
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


@pytest.mark.wide
def test_an_installation_runs_from_an_empty_folder(wheel, tmp_path):
    """In an environment of its own that sees this one's packages, but neither its jaxlab nor the checkout."""
    venv, folder = tmp_path / "venv", tmp_path / "empty"
    folder.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = (venv / "lib").glob("*/site-packages")
    (site / "other.pth").write_text(sysconfig.get_path("purelib") + "\n")  # .pth files in there are not read
    install = f"-m pip --python {venv}/bin/python install --no-deps --no-index -q {wheel}".split()
    subprocess.run([sys.executable, *install], check=True, capture_output=True)
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "XLA_FLAGS")}

    def command(*words):
        done = subprocess.run(
            [venv / "bin" / "jaxlab", *words], cwd=folder, env=kept, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "distillation/pld " in command("list")
    assert "pld beats kd" in command("show", "pld")
    (folder / "experiments").mkdir()  # a folder of the user's that is called like ours
    (folder / "experiments" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    command("run", "distillation/pld:smoke", "--config.seeds=2", "--workdir=pld")
    result = json.loads((folder / "pld" / "result.json").read_text())
    assert (result["config"], result["seeds"], result["commit"]) == ("distillation/pld", [200, 201], None)
    command("new", "my_method")
    assert "the average helps" in command("run", "my_method_config.py:smoke", "--workdir=own")
    test = subprocess.run(
        [venv / "bin" / "python", "-m", "pytest", "-q", "test_my_method.py"], cwd=folder, env=kept
    )
    assert test.returncode == 0


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
