"""The smoke run with two arms only: for tests that compile for many devices."""

import importlib.util
import pathlib

from ml_collections import ConfigDict


def get_config(variant: str | None = None) -> ConfigDict:
    """PLD's smoke config, pld and dist alone."""
    path = pathlib.Path(__file__).resolve().parents[2] / "configs" / "distillation" / "pld.py"
    spec = importlib.util.spec_from_file_location("pld", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config("smoke")
    arms = config.tasks.digits.arms
    config.tasks.digits.arms = ConfigDict({name: arms[name] for name in ("dist", "pld")})
    claim = {"name": "pld_over_dist", "text": "pld beats dist", "metric": "test/accuracy"}
    config.claims = ({**claim, "arm": "pld", "versus": "dist"},)
    return config
