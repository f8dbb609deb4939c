"""Virtual environments of pinned packages for the tools that need some, beside the build's other results."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def target():
    """The folder of the build's results."""
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def enter(name, requirements, script):
    """Starts the script again with the Python of its own environment, made now if it is not there."""
    home = target() / name
    python, stamp, wanted = home / "bin/python", home / "requirements", "\n".join(requirements)
    if pathlib.Path(sys.prefix).resolve() == home.resolve():
        return
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making {home}", file=sys.stderr)
        if importlib.util.find_spec("ensurepip") is None:
            # Debian and Ubuntu keep it in a package of its own.
            if shutil.which("apt-get") is None or os.getuid() != 0:
                sys.exit(f"{script}: this Python cannot make virtual environments; install its venv (python3-venv)")
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-venv"], check=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", *requirements]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    os.execv(python, [str(python), script, *sys.argv[1:]])
