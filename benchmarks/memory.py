"""Host memory over a long run: 10,000 steps in 200 chunks, logged and evaluated. `python -m benchmarks.memory`"""

import psutil

from benchmarks.loop import draw, learner
from jaxlab import data
from jaxlab.metrics import accuracy
from jaxlab.nets import Mlp
from jaxlab.training import Plan, fit


def main() -> None:
    """Print resident memory every thousand steps."""
    splits = data.split_images(data.digits(), seed=0)
    net = Mlp(features=(16,), num_classes=10)
    process, seen = psutil.Process(), []

    def note(row: dict) -> None:
        if row["step"] % 1000 == 0:
            seen.append(process.memory_info().rss / 2**20)
            print(f"  step {row['step']:6d}  {seen[-1]:8.1f} MiB")

    def evaluate(state, split, context):
        return {"accuracy": accuracy(net.apply(state.params, split.image), split.label)}

    plan = Plan(seeds=tuple(range(10)), log_every=50, eval_every=50, checkpoint_every=50)
    fit(learner(16), data=splits, draw=draw, steps=10_000, plan=plan, evaluate=evaluate, log=note)
    print(f"growth from step 1,000 to 10,000: {seen[-1] - seen[0]:+.1f} MiB")


if __name__ == "__main__":
    main()
