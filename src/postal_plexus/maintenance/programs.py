"""Run programs of the image without a shell, with an environment set here."""

import subprocess
from collections.abc import Sequence

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class ProgramError(Exception):
    """A program of the image failed, or does not answer; the text contains its message."""


def run(words: Sequence[str], *, given: str = "", seconds: float = 600.0) -> str:
    """Run a program; return its output.

    Raises:
        ProgramError: it failed, or took longer than `seconds`.
    """
    try:
        done = subprocess.run(  # noqa: S603  words of our own and of `calls`' patterns
            words,
            input=given,
            capture_output=True,
            env=ENVIRONMENT,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"{words[0]} took more than {seconds:.0f} s") from error
    except OSError as error:
        raise ProgramError(f"{words[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        text = said[-1] if said else f"exit status {done.returncode}"
        raise ProgramError(f"{words[0]}: {text[:1000]}")
    return done.stdout
