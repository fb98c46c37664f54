"""One task from its words to its end: `run` is the whole of it; `maintain` calls it.

Exit code: 0 done; 64 the words are no call; 65 what is asked about is not there or not usable; 67
an address is unknown; 69 something of the host does not answer; 70 a fault of ours; 143 it was
stopped. The same code is in the last line.
"""

import importlib
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn, cast

from postal_plexus.maintenance.calls import CallError, Verb, read
from postal_plexus.maintenance.codes import FAULT, STOPPED, UNAVAILABLE, USAGE, StatusError
from postal_plexus.maintenance.output import Output
from postal_plexus.maintenance.programs import ProgramError

# The modules whose VERBS an image has. Each is loaded where its programs are.
MODULES = {
    "dovecot": (
        "postal_plexus.maintenance.mailboxes",
        "postal_plexus.maintenance.importing",
        "postal_plexus.maintenance.file_import",
        "postal_plexus.maintenance.exporting",
    ),
    "restore": ("postal_plexus.maintenance.restored",),
    "postfix": ("postal_plexus.maintenance.mail_queue",),
}


class StoppedError(BaseException):
    """SIGTERM: ECS stops the task. Not an Exception, so that nothing takes it for a failure."""


def verbs(image: str) -> Mapping[str, Verb]:
    """Give the table of an image."""
    found: dict[str, Verb] = {}
    for name in MODULES[image]:
        table = cast("Mapping[str, Verb]", importlib.import_module(name).VERBS)
        found |= table
    return found


def run(image: str, given: Sequence[str]) -> int:
    """Do what the words say; give the exit code."""
    output = Output(sys.stdout)
    # As PID 1 the kernel gives it no default of its own.
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    code = FAULT
    try:
        verb, call = read(verbs(image), given)
        code = verb.run(call, output)
    except CallError as error:
        code = output.fail(USAGE, str(error))
    except StatusError as error:
        code = output.fail(error.status, str(error))
    except ProgramError as error:
        code = output.fail(UNAVAILABLE, str(error))
    except StoppedError:
        code = output.fail(STOPPED, "the task was stopped")
    except Exception as error:
        output.fail(FAULT, f"{type(error).__name__}: {error}")
        raise
    finally:
        output.end(code)
    return code


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise StoppedError
