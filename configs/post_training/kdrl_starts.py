"""Where does joining distillation and reinforcement learning pay? KDRL over starts of the student and of the teacher.

    python -m experiments.run --config=configs/post_training/kdrl_starts.py   # about 6 minutes on 2 CPU cores

The task of kdrl.py. The student imitates until its demonstrations have a probability of 0.03, 0.1 or 0.3, the teacher
until 0.5 or 0.85: six pairs, in each of which `grpo` hears the verifier alone, `kd_rkl` the teacher alone and
`kdrl_annealed` both, with the settings that kdrl.py has found for 0.1 and 0.85. The mean reward is of all 150 steps.
"""

from configs._comparison import comparison, headline, premise, secondary
from configs.post_training import _policies as policies
from configs.post_training import kdrl

STUDENTS, TEACHERS = {"s03": 0.03, "s10": 0.1, "s30": 0.3}, {"t50": 0.5, "t85": 0.85}
BASE = kdrl.BASE | {
    "minutes": 6.0, "first_seed": 400, "open_edges": (),
    "tasks": {f"{student}_{teacher}": {"student": kdrl.BASE["student"] | {"target": STUDENTS[student]},
                                       "teacher": kdrl.BASE["teacher"] | {"target": TEACHERS[teacher]}}
              for student in STUDENTS for teacher in TEACHERS},
}  # fmt: skip
ARMS = {name: kdrl.ARMS[name] for name in kdrl.FEW}
SOONER = {"metric": "mean_reward", "sesoi": 0.02, "needs": ("differ",)}
REWARD = "test/mean_reward"
LEADS = (("s03_t85/kdrl_annealed", REWARD, 1.0), ("s03_t85/grpo", REWARD, -1.0),
         ("s30_t85/kdrl_annealed", REWARD, -1.0), ("s30_t85/grpo", REWARD, 1.0))  # fmt: skip
CLAIMS = (
    headline(
        terms=LEADS,
        name="weaker",
        text="joining leads the verifier alone by more where the student is weaker",
        sesoi=0.02,
        needs=("s03_t85/differ", "s30_t85/differ"),
    ),
    secondary("kdrl_annealed", "grpo", "joining earns more reward than the verifier alone", **SOONER),
    secondary("kdrl_annealed", "kd_rkl", "joining earns more reward than the teacher alone", **SOONER),
    premise("teacher", "student", "the teacher is ahead of the student", name="differ", sesoi=0.1),
)

get_config, VARIANTS = comparison(
    BASE, ARMS, None, CLAIMS, metric="test/accuracy", arm=policies.ARM, methods=kdrl.METHODS,
    smoke=policies.SMOKE | policies.SMALL_SORTING | kdrl.annealed(1.0, steps=4, of=kdrl.ANNEALED)
    | {"tasks": ("s03_t85", "s30_t85"), "tasks.*.student": policies.TINY, "tasks.*.teacher": policies.TINY},
    long=("steps",),
)  # fmt: skip
