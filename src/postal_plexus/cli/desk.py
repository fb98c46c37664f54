"""The commands of `plexus local`: each calls a function of the desk and prints the result.

Raises CommandError: UNAVAILABLE if the desk or something that it needs is not running, NO_INPUT if
a file cannot be read, CONFIG if the stack file is wrong.
"""

import json
import shlex
import shutil
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from postal_plexus.cli import stack_files
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.web_parts import LABELS
from postal_plexus.desk import demo as demonstration
from postal_plexus.desk import desk
from postal_plexus.desk.demo import DemoError
from postal_plexus.desk.demo_log import Step
from postal_plexus.desk.desk import DeskError, UpOptions
from postal_plexus.desk.status import DeskStatus

# The server name for mail clients; the desk's certificate contains it in addition to 127.0.0.1.
_HOST = "localhost"


def run(args: Namespace) -> int:
    """Run the chosen command. Convert the desk's errors to CommandError."""
    acts = {"up": _up, "down": _down, "status": _status, "send": _send, "demo": _demo}
    try:
        return acts[args.act](args)
    except (DeskError, DemoError) as error:
        lines = str(error).replace("`plexus ", f"`{_typed()} ").splitlines()
        raise CommandError(Exit.UNAVAILABLE, *lines) from error


def _up(args: Namespace) -> int:
    stack_file = args.stack_file or desk.remembered_stack_file(args.desk)
    if stack_file is not None:
        stack_files.read(stack_file)
    options = UpOptions(ephemeral_ports=args.ports == "ephemeral")
    status = desk.up(args.desk, stack_file, options, tell=_tell)
    _show(status)
    return Exit.OK


def _down(args: Namespace) -> int:
    desk.down(args.desk, destroy=args.destroy, tell=_tell)
    return Exit.OK


def _status(args: Namespace) -> int:
    status = desk.status(args.desk)
    if args.json:
        print(json.dumps(status.document(), indent=2))
    else:
        _show(status)
    return Exit.OK if status.healthy else Exit.UNAVAILABLE


def _send(args: Namespace) -> int:
    delivery = desk.send(
        args.desk,
        args.sender,
        args.recipients,
        None if args.file is None else _content(args.file),
        subject=args.subject,
        text=args.text,
    )
    print(f"SES accepted it: {delivery.reply}")
    if delivery.refused:
        refused = (f"SES refused {who}: {reply}" for who, reply in delivery.refused.items())
        raise CommandError(Exit.UNAVAILABLE, *refused)
    return Exit.OK


def _demo(args: Namespace) -> int:
    status = desk.status(args.desk)
    if not status.healthy:
        start = f"{_typed()} local up{_option(args.desk)}"
        line = f"no healthy desk runs in {args.desk}; start it: {start}"
        raise CommandError(Exit.UNAVAILABLE, line)
    shown = demonstration.run(status)
    _show_steps("A message arrives", shown.incoming)
    _show_steps("A reply leaves", shown.outgoing)
    _show(status)
    _show_what_to_do(args.desk, status)
    return Exit.OK


def _tell(line: str) -> None:
    # The reader of the progress output may be gone; the work continues.
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _content(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        line = f"cannot be read ({error.strerror}); give the path of a message"
        raise CommandError(Exit.NO_INPUT, line, source=file) from error


def _show_steps(title: str, steps: Sequence[Step]) -> None:
    print(f"{title}:")
    for step in steps:
        print(f"  {step.seconds * 1000:7.0f} ms  {step.what}")
    print()


def _show(status: DeskStatus) -> None:
    print(f"The desk in {status.directory} is {_in_a_word(status)}.")
    for container in status.containers:
        reason = f" ({container.reason})" if container.reason else ""
        print(f"  {container.name:<10} {container.health.lower()}{reason}")
    if status.locked_out:
        print(status.locked_out.replace("`plexus ", f"`{_typed()} "))
    if status.settings is None:
        return
    at = status.endpoints
    print("For a mail client:")
    print(f"  IMAP       {_HOST} port {at.imaps.port}, TLS")
    print(f"  SMTP       {_HOST} port {at.submissions.port}, TLS")
    print(f"             {_HOST} port {at.submission.port}, STARTTLS")
    print(f"  filters    {_HOST} port {at.sieve.port}, ManageSieve with STARTTLS")
    for host in status.hosts[1:]:
        print(f"  also at    {host.instance.loopback}, the same ports: {host.name}")
    print(f"  CA         {status.ca_file}")
    for account in status.accounts:
        print(f"  user       {account.address}, password {account.password}")
    for part, address in status.web.items():
        print(f"{f'{LABELS[part]}:':<20} {address}")
    print(f"Mail from the world: {_HOST} port {at.ses_inbound.port}, SMTP")
    print(f"Mail to the world:   {status.outbox}")
    if status.page:
        print(f"Console:             {status.page}")


def _in_a_word(status: DeskStatus) -> str:
    if status.healthy:
        return "healthy"
    return "not healthy" if status.running else "not running"


def _show_what_to_do(desk: Path, status: DeskStatus) -> None:
    option, plexus = _option(desk), _typed()
    address = status.accounts[0].address
    lines = (
        (f"{plexus} local send{option} {address}", "send a message to this user"),
        (f"{plexus} local status{option}", "show all of this again"),
        (f"{plexus} local down{option}", "stop; the mailboxes stay"),
    )
    width = max(len(command) for command, _ in lines)
    print("What to do now:")
    for command, what in lines:
        print(f"  {command:<{width}}  {what}")


def _option(desk: Path) -> str:
    return "" if desk == Path(".desk") else f" --desk {shlex.quote(str(desk))}"


def _typed() -> str:
    """Return how to type this program here: by its name if PATH has it, otherwise by its path."""
    program = Path(sys.argv[0])
    found = shutil.which("plexus")
    if found is not None and program.exists() and Path(found).samefile(program):
        return "plexus"
    if program.name != "plexus":
        return "plexus"  # `python -m`, or a test
    with suppress(ValueError):
        program = program.absolute().relative_to(Path.cwd())
    return shlex.quote(str(program))
