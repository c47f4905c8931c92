"""What the suite costs, by the last `make test COSTS=1`: a new file is measured before it is let in."""

import pathlib

from tests import costs

TESTS = pathlib.Path(__file__).parent
FILES = sorted(str(path.relative_to(TESTS.parent)) for path in TESTS.rglob("test_*.py"))
A_PAPER = 10.0  # CPU seconds that a new paper may add


def test_every_file_was_measured():
    missing = sorted(set(FILES) - set(costs.read()) - set(_wide()))
    assert not missing, "make test COSTS=1 measures new files"


def test_the_suite_fits_ten_minutes_of_two_cores():
    assert sum(costs.read().values()) < 2 * 600


def _wide():
    """Files that make test leaves out whole."""
    return [name for name in FILES if "pytestmark = pytest.mark.wide" in (TESTS.parent / name).read_text()]
