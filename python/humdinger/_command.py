"""The command `humdinger`."""

import os
import signal
import sys

from ._humdinger import main as run


def main() -> int:
    """Runs it with the words of this process; its exit code."""
    # Python's own handler only notes that Ctrl-C was pressed, until Python runs again.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform.startswith("linux") and "XDG_RUNTIME_DIR" not in os.environ:
        # Mesa's layer that chooses devices prints complaints without a display.
        os.environ.setdefault("NODEVICE_SELECT", "1")
    return run(["humdinger", *sys.argv[1:]])

