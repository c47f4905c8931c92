"""Bring results of the first format, whose claims were decided one by one, into today's.

The claims are those of today's configs, decided anew from the metrics of every seed; what the first format did not
record is said under `limits`, what an audit refuted is withdrawn with the reason. A result that has a format is left
alone. Run once; kept to show what was done.
"""

import json
import pathlib
import subprocess
import sys
from typing import Any

from experiments._config import load_module
from jaxlab.training import Claim, decide
from jaxlab.training.metrics import to_json, write_atomically
from jaxlab.training.publish import FORMAT, load_results

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIMITS = (
    "One draw of the data, or one split, for all seeds: the intervals speak of initial parameters and batches.",
    "No gates: premise and room claims were shown, but nothing waited for them.",
    "No check of convergence: neither the last fifth of training nor four times the steps were looked at.",
    "No settings but the winners of the search were run, and whether these sit at an edge was not recorded.",
    "The kinds of claims, the smallest effects of interest and the intervals by Holm came after the run.",
)
UNTRAINED = (
    "at alpha 1e-10 the student is its teacher to float32 rounding and its largest gradient is 1e-10, so "
    "that nothing was trained."
)
LONGER = "at 1,500 steps nothing has converged; after 6,000 the difference is "
REDRAWN = "it hangs on the draw of three labelled slices; on another draw the difference is "
RESPLIT = "the difference is one to three test images, and undecided on two other splits."
NOTHING_TO_TEACH = "the teacher's parity is no better than that of a student alone, so nothing was tested."
WITHDRAWN = {
    "distillation/pld": {
        "hierarchy/pld_over_kd": f"{LONGER}+0.004 [-0.031, +0.039].",
        "hierarchy/kd_over_ce": f"{LONGER}-0.010 [-0.057, +0.038].",
    },
    "distillation/nd_loss": {
        "same_width/kd_nd_over_kd": "at 1,000 steps nothing has converged; after 4,000 the difference is "
        "+0.008 [-0.004, +0.020].",
    },
    "distillation/mcmi": {
        "few/lambda_15_over_lambda_0": "tuning gave the two arms temperatures 8 and 4 in a tie; with 8 for "
        "both and fresh seeds the difference is +0.0003 [-0.0024, +0.0030].",
    },
    "distillation/random_teacher": {
        f"{name}": UNTRAINED
        for name in ("near_over_teacher", "near_over_pixels", "near_over_near_noise", "near_over_far",
                     "between_over_near", "labels_over_near")
    },
    "distillation/talking_models": {
        name: NOTHING_TO_TEACH for name in ("two_way_1_over_hint", "two_way_1_over_ce", "kd_over_ce")
    },
    "distillation/dhkd": {
        f"digits/{name}": RESPLIT
        for name in ("two_heads_over_one_head", "ce_over_one_head", "two_heads_over_ce")
    },
    "ranking/dla": {
        "trust/dla_over_ipw_true": 'the claim, "as good as", was tested as equivalence and counted against '
        "DLA, which was better; it asks for not worse now.",
    },
    "semi_supervised/rail": {
        "rail_over_supervised": f"{REDRAWN}+0.034 [+0.015, +0.053].",
        "rail_over_mean_teacher": f"{REDRAWN}-0.028 [-0.061, +0.006].",
    },
    "semi_supervised/sefar": {
        "sefar_over_fixmatch": "FixMatch is 0.004 below the ceiling, so there was no room to beat it, and "
        "every class here is the reversal of another.",
    },
    "semi_supervised/dual_mean_teacher-ablations": {
        "dmt_over_contrastive_ap50": "on another draw of the labelled frames the difference is +0.043 "
        "[+0.016, +0.071].",
    },
}  # fmt: skip


def migrated(name: str, old: dict[str, Any]) -> dict[str, Any]:
    """The result in today's format."""
    config = load_module(str(ROOT / "configs" / f"{old['config']}.py")).get_config(_variant(old))
    scores = {
        arm: facts["metrics"] for part in ("prepare", "arms") for arm, facts in old.get(part, {}).items()
    }
    claims = decide([_claim(claim, config.claims) for claim in old["claims"]], scores, seeds=old["seeds"])
    withdrawn = WITHDRAWN.get(name, {})
    for claim in claims:
        if reason := withdrawn.get(claim["name"]):
            claim |= {"verdict": "withdrawn", "why": reason.removeprefix(""), "fragile": []}
    assert set(withdrawn) <= {claim["name"] for claim in claims}, withdrawn
    state, settings = _code(old)
    head = {
        "format": FORMAT,
        "config": old["config"],
        "variant": old["variant"],
        "scale": config.get("scale", ""),
    }
    kept = {key: old[key] for key in ("commit", "device", "versions", "seeds", "wall_s", "arms", "prepare")}
    limits = [*(LIMITS if claims else ()), *state]
    kept |= {"code": "unknown"} if state else {}
    return (
        head
        | kept
        | {"claims": claims, "limits": limits, "earlier_looks": _looks(name), "settings": settings}
    )


def _variant(old: dict[str, Any]) -> str | None:
    return None if old["variant"] == "default" else old["variant"]


def _claim(old: dict[str, Any], known: Any) -> Claim:
    """Today's claim with the words, the metric and the arms of an old one."""
    task, slash, arm = old["arm"].rpartition("/")
    said = (old["text"].removeprefix(f"{task}: ") if slash else old["text"], old["metric"], arm)
    found = [dict(claim) for claim in known if (claim["text"], claim["metric"], claim["arm"]) == said]
    if len(found) != 1:
        raise SystemExit(f"{len(found)} claims of today say {said}")
    found[0].pop("tasks", None)
    return Claim(**found[0]).within(task)


def _git(*words: str) -> str | None:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def _code(old: dict[str, Any]) -> tuple[list[str], dict[str, Any] | None]:
    """What is not known of the code, and the config as it was at the commit, if that is known."""
    commit, _, dirty = (old["commit"] or "").partition("-")
    if _git("cat-file", "-e", f"{commit}^{{commit}}") is None:
        return [
            f"Its commit, {commit[:7] or 'none'}, is not in the repository: code and settings are not known."
        ], None
    if dirty:
        return ["From a tree with changes that were not committed: code and settings are not known."], None
    source = _git("show", f"{commit}:configs/{old['config']}.py")
    here = ROOT / "configs" / f"{old['config']}.py"
    scratch = here.with_name(f"_{here.stem}_at_{commit[:7]}.py")
    try:
        scratch.write_text(source)
        settings = json.loads(load_module(str(scratch)).get_config(_variant(old)).to_json_best_effort())
    except Exception as error:
        return [f"The config at its commit cannot be loaded ({error}): settings are not known."], None
    finally:
        scratch.unlink(missing_ok=True)
    settings.pop("claims", None)
    return [], settings


def _looks(name: str) -> list[dict[str, Any]]:
    """The results that were published under this name before, from the history of the repository."""
    path, looks = f"results/{name}.json", []
    for commit in reversed((_git("log", "--format=%H", "--", path) or "").split()):
        before = json.loads(_git("show", f"{commit}:{path}") or "null")
        if before is None or "format" in before or not before["claims"]:
            continue
        found = {claim["text"]: [claim["difference"], claim["verdict"]] for claim in before["claims"]}
        looks.append({"commit": before["commit"], "seeds": before["seeds"], "claims": found})
    return looks[:-1]  # the last one is the result itself


def main() -> int:
    """Migrate every result that has no format."""
    for name, old in load_results(ROOT / "results").items():
        if "format" not in old:
            text = json.dumps(to_json(migrated(name, old)), indent=1)
            write_atomically(ROOT / "results" / f"{name}.json", text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
