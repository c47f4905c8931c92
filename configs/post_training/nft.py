"""NFT: wrong answers are learned from too, by maximum likelihood, through the policy that they imply.

Bridging Supervised Learning and Reinforcement Learning in Math Reasoning, 2025, arXiv 2505.18116.

    python -m experiments.run --config=configs/post_training/nft.py        # a minute on 2 CPU cores
    python -m experiments.run --config=configs/post_training/nft.py:tune   # the rates behind ARMS

Sort 4 to 6 digits, 7 are harder. Every seed's policy imitates until its demonstrations have a probability of 0.3, then
takes 150 batches of 16 problems x 8 answers, in one update each, or in 8. `rft` is the same loss without wrong answers:
rejection fine-tuning. `grpo` has the group's mean for a baseline and no deviation, whose gradient NFT's is where
nothing is off-policy (a test, not a claim). Groups that are all right or all wrong teach nothing in any arm.
Other than in the paper: everything but the loss. No new prompts are drawn for those groups.
"""

from configs._comparison import comparison, grid, headline, premise, room, secondary
from configs.post_training import _policies as policies

BASE = policies.BASE | {
    "paper": "NFT: Bridging Supervised Learning and Reinforcement Learning in Math Reasoning (2025, arXiv 2505.18116)",
}
ARM = policies.ARM | {"advantage": "dr_grpo", "aggregation": "constant", "clip_high": 0.28}
NFT = {"method": "nft", "floor": 1.0, "prompt_weight": "dr_grpo", "negative_weight": 1.0}
METHODS = {
    "nft": NFT, "rft": NFT | {"negative_weight": 0.0},
    "nft_8": NFT | {"minibatches": 8}, "rft_8": NFT | {"negative_weight": 0.0, "minibatches": 8},
    "grpo_8": {"minibatches": 8},
}  # fmt: skip
ARMS = {
    "nft": {"learning_rate": 5e-4}, "rft": {"learning_rate": 2.5e-4},
    "nft_8": {"learning_rate": 3e-4}, "rft_8": {"learning_rate": 1e-4}, "grpo_8": {"learning_rate": 3e-4},
}  # fmt: skip
GRID = {
    **dict.fromkeys(("nft", "rft"), grid({"learning_rate": (1.25e-4, 2.5e-4, 5e-4, 1e-3)})),
    **dict.fromkeys(("nft_8", "rft_8", "grpo_8"), grid({"learning_rate": (3e-5, 1e-4, 3e-4, 6e-4)})),
}
GATES = {"needs": ("start", "room", "converged")}
CLAIMS = (
    headline("nft_8", "rft_8", "with 8 updates a batch, NFT beats rejection fine-tuning", sesoi=0.02, **GATES),
    secondary("nft", "rft", "with one update, NFT beats rejection fine-tuning", sesoi=0.02, **GATES),
    secondary("nft_8", "grpo_8", "NFT is as good as GRPO", relation="equivalent", sesoi=0.02, **GATES),
    secondary("nft_8", "rft_8", "NFT keeps more entropy", metric="entropy", sesoi=0.01, **GATES),
    premise("student", 0.4, "the start succeeds in 20 to 60 %", name="start", relation="equivalent", sesoi=0.2),
    premise("nft_8", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
    room(1.0, "rft_8", "rejection fine-tuning leaves room", name="room", sesoi=0.04),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke=policies.SMOKE | policies.SMALL_SORTING | {"prompts": 8}, tune={"minutes": 8.0, "eval_every": 150},
    long=("steps",),
)  # fmt: skip
