"""What each file of tests costs, in CPU seconds of its worker and of the processes that it starts.

    make test COSTS=1

writes benchmarks/test_costs.csv. It counts CPU time and not the clock, so that other work beside it hardly matters.
"""

import collections
import csv
import os
import pathlib
import platform

import pytest

TABLE = pathlib.Path(__file__).parents[1] / "benchmarks" / "test_costs.csv"


class Costs:
    """A plugin: workers count, and the one process that has no controller above it writes."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.seconds = config, collections.Counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        """Set-up and teardown count, and with them the fixtures that files share."""
        before = _cpu_seconds()
        outcome = yield
        self.seconds[item.nodeid.split("::")[0]] += _cpu_seconds() - before
        return outcome

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node, error) -> None:
        """The controller's side of a worker's end."""
        self.seconds.update(getattr(node, "workeroutput", {}).get("costs", {}))

    def pytest_sessionfinish(self) -> None:
        """Hand over, or write."""
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["costs"] = dict(self.seconds)

    def pytest_unconfigure(self) -> None:
        """After all workers have handed over."""
        if not hasattr(self.config, "workeroutput") and self.seconds:
            write(self.seconds)


def _cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def write(seconds: dict[str, float]) -> None:
    """The table, the dearest file first.

    Args:
      seconds: by file.
    """
    with TABLE.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", f"CPU seconds ({os.cpu_count()} x {platform.machine()})"])
        own = {name: spent for name, spent in seconds.items() if not name.endswith("/test_costs.py")}
        rows.writerows([name, f"{spent:.1f}"] for name, spent in sorted(own.items(), key=lambda x: -x[1]))


def read() -> dict[str, float]:
    """The table, by file."""
    with TABLE.open(newline="") as file:
        return {name: float(spent) for name, spent in list(csv.reader(file))[1:]}
