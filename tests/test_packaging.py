"""What an installation brings: the library, and no tool of its tests."""

import configparser
import pathlib
import re
import subprocess
import sys

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


@pytest.mark.parametrize("name", ["numpy", "optax", "orbax-checkpoint", "pytest", "scikit-learn", "tqdm"])
def test_what_ci_ran_with_is_pinned(name):
    assert re.search(rf"^{name}==", (ROOT / "constraints.txt").read_text(), re.MULTILINE | re.IGNORECASE)
