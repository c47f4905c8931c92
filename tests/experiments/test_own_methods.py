"""A method of the user's, `module:function`, in every driver, where an entry of its table would stand."""

import importlib
import sys
import types

import pytest

from experiments._config import load, shipped_configs
from experiments._driver import build, packages_of
from jaxlab.core import InputError
from jaxlab.training import Experiment

TABLES = {  # where it is not called METHODS, or lies in a module beside
    "continual.order_classes": ("continual._strategies", "STRATEGIES"),
    "curriculum.teach_tasks": ("curriculum._teachers", "TEACHERS"),
    "distillation.train_student": ("distillation._losses", "LOSSES"),
}
FLOWS = {"semi_supervised/ev_wsss": "_events", "semi_supervised/rail": "_volumes"}  # of segment.py


def cases():
    """A shipped config of every driver, and the table."""
    drivers = {load(f"{name}:smoke").config.experiment: name for name in reversed(shipped_configs())}
    found = [(name, f"semi_supervised.{module}", "METHODS") for name, module in FLOWS.items()]
    for driver, name in drivers.items():
        module, table = TABLES.get(driver, (driver, "METHODS"))
        if hasattr(importlib.import_module(f"experiments.{module}"), table):
            found.append((name, module, table))
    return found


@pytest.fixture
def theirs(monkeypatch):
    """A module that the user has."""
    module = types.ModuleType("theirs")
    monkeypatch.setitem(sys.modules, "theirs", module)
    return module


def test_every_driver_is_tried():
    assert len(cases()) >= 22


@pytest.mark.slow
@pytest.mark.parametrize(("name", "module", "table"), cases(), ids=lambda case: case)
def test_a_drivers_method_may_be_the_users(name, module, table, theirs):
    known = getattr(importlib.import_module(f"experiments.{module}"), table)
    loaded = load(f"{name}:smoke")
    config = loaded.config
    task = next(iter(config.tasks.values())) if "tasks" in config else config
    arms = task.arms if "arms" in task else config.arms
    called, arm = [(called, arm) for called, arm in arms.items() if arm.method in known][-1]
    theirs.method = known[arm.method]
    arm.method = "theirs:method"
    driver = importlib.import_module(f"experiments.{config.experiment}")
    experiments = build(driver, config, download=False)
    assert all(isinstance(one, Experiment) for one in experiments.values())
    assert called in next(iter(experiments.values())).arms
    assert packages_of(driver, config)[-1] == "theirs"
    arm.method = "theirs:nothing"
    with pytest.raises(InputError, match="theirs has no nothing"):
        build(driver, config, download=False)
