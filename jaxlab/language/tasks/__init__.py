"""Reasoning tasks with verifiers: procedural ones that are pure and compile, and a host side for the others.

A `Task` samples problems from a key, checks completions by array arithmetic, and demonstrates solutions, so that a
whole iteration of reinforcement learning with verifiable rewards is one compiled function. `ReasoningGym` and
`verify_text` are the same for tasks that only Python can check.
"""

from jaxlab.language.tasks._arithmetic import addition, multiplication
from jaxlab.language.tasks._chain import chain
from jaxlab.language.tasks._countdown import countdown
from jaxlab.language.tasks._math_answer import MathAnswers, math_answer_matches, math_score
from jaxlab.language.tasks._parity import parity
from jaxlab.language.tasks._reasoning_gym import ReasoningGym
from jaxlab.language.tasks._sorting import sorting
from jaxlab.language.tasks._task import ALPHABET, Problems, Task
from jaxlab.language.tasks._verifier import verify_text

__all__ = [
    "ALPHABET",
    "MathAnswers",
    "Problems",
    "ReasoningGym",
    "Task",
    "addition",
    "chain",
    "countdown",
    "math_answer_matches",
    "math_score",
    "multiplication",
    "parity",
    "sorting",
    "verify_text",
]
