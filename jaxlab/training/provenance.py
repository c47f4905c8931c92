"""Which code a result comes from."""

import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_OURS = ("configs", "experiments", "jaxlab")  # code that git does not know yet counts here


def commit(root: Path | None = None) -> str | None:
    """The commit of this code, with "-dirty" when files differ from it; None outside a checkout.

    Where the library is installed, the code is that of the working directory. Untracked files count where they could be
    imported. Published results do not count: the one published before must not make the next look like other code.

    Args:
      root: of the checkout; None finds it.
    """
    root = root or (_ROOT if (_ROOT / ".git").exists() else Path.cwd())
    try:
        ask = lambda *words: subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        changed = ask("status", "--porcelain", "-uno", "--", ".", ":(exclude)results")
        present = [folder for folder in _OURS if (Path(root) / folder).is_dir()] or ["*.py"]
        unknown = ask("ls-files", "--others", "--exclude-standard", "--", *present)
        return ask("rev-parse", "HEAD") + ("-dirty" if changed or unknown else "")
    except (OSError, subprocess.SubprocessError):
        return None
