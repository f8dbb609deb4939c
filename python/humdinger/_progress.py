"""How training goes, on the screen."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class Progress:
    """Shows the progress of a run where that is wanted: by tqdm where it is installed, else a line for each epoch."""

    def __init__(self, shown: bool) -> None:
        self.warnings: list[str] = []
        self._shown = shown
        self._bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def tell(self, what: str, *more: Any) -> None:
        """Is told something by the run."""
        if what == "warning":
            self.warnings.append(more[0])
        elif not self._shown:
            return
        elif what == "note":
            self._line(more[0])
        elif what == "step":
            self._step(*more)
        elif what == "epoch":
            self._epoch(*more)

    def _step(self, epoch: int, done: int, of: int, loss: float) -> None:
        if self._bar is None:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=of, unit="clip", file=sys.stderr)
        if self._bar.total != of or self._bar.n >= done:
            self._bar.reset(total=of)
        self._bar.set_description(f"epoch {epoch}", refresh=False)
        self._bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self._bar.update(done - self._bar.n)

    def _epoch(self, epoch: int, loss: float, accuracy: float, val_loss: float | None, val: float | None, best: bool) -> None:
        line = f"epoch {epoch}: loss {loss:.3f}, {100 * accuracy:.1f} % right"
        if val is not None:
            line += f"; held back: loss {val_loss:.3f}, {100 * val:.1f} % right{', the best' if best else ''}"
        self._line(line)

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr)
