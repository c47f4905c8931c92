"""Comparisons of one task or of several."""

from collections.abc import Callable

from ml_collections import ConfigDict

from jaxlab.training import Experiment


def of_tasks(
    config: ConfigDict, make: Callable[[ConfigDict], Experiment]
) -> Experiment | dict[str, Experiment]:
    """`make(config)`, or one for each of `config.tasks`: what a task says stands in the place of what all share."""
    tasks = config.get("tasks", {})
    return {name: make(_merged(config, own, name)) for name, own in tasks.items()} or make(config)


def _merged(config: ConfigDict, own: ConfigDict, task: str) -> ConfigDict:
    """A task's values over those that all share, and the claims that are about it."""
    merged = config.copy_and_resolve_references()
    with merged.unlocked():
        merged.update(own)
        said = [dict(claim) for claim in config.claims]
        merged.claims = tuple(claim for claim in said if task in claim.pop("tasks", (task,)))
    return merged
