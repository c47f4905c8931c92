"""Shared mathematics: used by every family, imports none."""

from jaxlab.core._learner import Learner

__all__ = ["Learner"]
