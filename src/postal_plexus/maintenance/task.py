"""Run one task from its words to its end; `containers/shared/maintain` calls `run`.

Exit code: 0 done; 64 the words are invalid; 65 the requested object does not exist or is unusable;
67 an address is unknown; 69 a service of the host does not answer; 70 a bug; 143 it was stopped.
The last line contains the same code.
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

# The modules whose VERBS an image supports. Each is loaded only in the image with its programs.
MODULES = {
    "dovecot": (
        "postal_plexus.maintenance.mailboxes",
        "postal_plexus.maintenance.importing",
        "postal_plexus.maintenance.file_import",
        "postal_plexus.maintenance.exporting",
        "postal_plexus.maintenance.rescue",
    ),
    "restore": ("postal_plexus.maintenance.restored",),
    "postfix": ("postal_plexus.maintenance.mail_queue",),
    "calendars": ("postal_plexus.calendars.tasks",),
}


class StoppedError(BaseException):
    """SIGTERM: ECS stops the task. Not an Exception, so that no handler catches it."""


def verbs(image: str) -> Mapping[str, Verb]:
    """Return the table of an image."""
    found: dict[str, Verb] = {}
    for name in MODULES[image]:
        table = cast("Mapping[str, Verb]", importlib.import_module(name).VERBS)
        found |= table
    return found


def run(image: str, given: Sequence[str]) -> int:
    """Run the verb that the words name; return the exit code."""
    output = Output(sys.stdout)
    # For PID 1 the kernel has no default action.
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
