"""What the suite costs, by the last `make test COSTS=1`: a new file is measured before it is let in."""

import pathlib

from tests import costs

TESTS = pathlib.Path(__file__).parent
# What a paper adds, its functions, its driver and its config, costs 10 CPU seconds at most; these files serve many.
A_PAPER = 10.0
SHARED = {
    "tests/test_every_config.py": "every variant of every config",
    "tests/test_fuzz.py": "every function of arrays",
    "tests/test_readme.py": "every command and snippet of README and guides",
    "tests/experiments/test_command_line.py": "the command in processes of its own",
    "tests/experiments/test_student_experiments.py": "many losses on one driver",
    "tests/experiments/test_pretraining.py": "seven papers on one driver",
    "tests/experiments/test_policy_methods.py": "nine papers on one driver",
    "tests/experiments/test_masks_and_random_teachers.py": "two papers",
    "tests/experiments/test_teacher_experiments.py": "three papers",
    "tests/experiments/test_text_experiments.py": "two papers",
    "tests/self_supervised/test_contracts.py": "every loss of the room",
    "tests/semi_supervised/test_prototype_devices.py": "one and four devices, four ways",
    "tests/language/test_sampler.py": "every way to sample",
    "tests/language/test_token_log_probs.py": "every way to read a vocabulary",
    "tests/metrics/test_mean_tests.py": "every test of means",
    "tests/training/test_loop.py": "the engine",
    "tests/training/test_run.py": "the engine",
    "tests/training/test_settings.py": "the engine",
    "tests/training/test_streamed.py": "the engine",
}


def _measured_here(path: pathlib.Path) -> bool:
    """Not this file, and none that make test leaves out whole."""
    return path != pathlib.Path(__file__) and "pytestmark = pytest.mark.wide" not in path.read_text()


def test_every_file_is_measured():
    files = {str(path.relative_to(TESTS.parent)) for path in TESTS.rglob("test_*.py") if _measured_here(path)}
    assert files == costs.read().keys(), "make test COSTS=1 measures"


def test_the_suite_fits_ten_minutes_of_two_cores():
    assert sum(costs.read().values()) < 2 * 600


def test_a_file_above_the_share_of_a_paper_serves_many():
    dear = {name for name, spent in costs.read().items() if spent > A_PAPER}
    assert dear <= SHARED.keys()
    assert SHARED.keys() <= costs.read().keys()
