"""Claims of a config, by task."""

from ml_collections import ConfigDict

from jaxlab.training import Claim


def claims_of(config: ConfigDict, task: str = "") -> tuple[Claim, ...]:
    """The claims that are about a task: all that do not name theirs, under `tasks`."""
    said = [dict(claim) for claim in config.claims if task in claim.get("tasks", (task,))]
    return tuple(Claim(**{key: value for key, value in claim.items() if key != "tasks"}) for claim in said)
