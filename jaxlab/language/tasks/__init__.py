"""Reasoning tasks with verifiers: procedural ones that are pure and compile, and a host side for the others.

A `Task` samples problems from a key, checks completions by array arithmetic, and demonstrates solutions, so that a
whole iteration of reinforcement learning with verifiable rewards is one compiled function. `ReasoningGym` and
`verify_text` are the same for tasks that only Python can check.
"""

from jaxlab.language.tasks._arithmetic import addition, multiplication
from jaxlab.language.tasks._chain import chain
from jaxlab.language.tasks._countdown import countdown
from jaxlab.language.tasks._knights import knights
from jaxlab.language.tasks._math_answer import MathAnswers, math_answer_matches, math_score
from jaxlab.language.tasks._mixture import mixture
from jaxlab.language.tasks._parity import parity
from jaxlab.language.tasks._properties import PROPERTIES, properties
from jaxlab.language.tasks._puzzle_texts import countdown_score, grid_score, knights_score
from jaxlab.language.tasks._reasoning_gym import ReasoningGym
from jaxlab.language.tasks._sorting import sorting
from jaxlab.language.tasks._stack_program import stack_program
from jaxlab.language.tasks._stepwise import CORRUPTIONS, GUIDANCE, STYLES, StepwiseTask, stepwise
from jaxlab.language.tasks._task import ALPHABET, Problems, Task
from jaxlab.language.tasks._verifier import verify_text

__all__ = [
    "ALPHABET",
    "CORRUPTIONS",
    "GUIDANCE",
    "PROPERTIES",
    "STYLES",
    "MathAnswers",
    "Problems",
    "ReasoningGym",
    "StepwiseTask",
    "Task",
    "addition",
    "chain",
    "countdown",
    "countdown_score",
    "grid_score",
    "knights",
    "knights_score",
    "math_answer_matches",
    "math_score",
    "mixture",
    "multiplication",
    "parity",
    "properties",
    "sorting",
    "stack_program",
    "stepwise",
    "verify_text",
]
