"""The bar a person watches: steps per second, loss and time left; silent when nobody sees it."""

from types import TracebackType

from tqdm import tqdm


class Bar:
    """A progress bar over the steps of one arm; quiet when standard error is not a terminal."""

    def __init__(self, title: str, steps: int, *, start: int = 0, show: bool | None = None):
        self._bar = tqdm(
            total=steps,
            initial=start,
            desc=title,
            unit=" steps",
            disable=None if show is None else not show,
            dynamic_ncols=True,
            leave=True,
        )

    def advance(self, count: int, loss: float | None) -> None:
        """Move on by `count` steps and show the latest loss, the mean over seeds."""
        if loss is not None:
            self._bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
        self._bar.update(count)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()
