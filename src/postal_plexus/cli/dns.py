"""`plexus dns`: compare the public DNS with the records that a stack's domains need.

The resolver library is loaded only when it is used.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from postal_plexus.autoconfig.records import Record
from postal_plexus.cli import stack_files
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.dns_records import Made, State, expected, judge
from postal_plexus.directory.idn import shown

SUMMARY = "check the domains' public DNS records"

DETAILS = """
Look up every record that the stack's domains should have. The stack's outputs add the name servers,
the DKIM records and the address:
  pulumi stack output --json | plexus dns --stack-file Pulumi.main.yaml --outputs -
The exit code is 68 if a record is missing, wrong or cannot be looked up.
"""

# The time limit for all of a domain's records: a dead resolver must not take minutes.
_AT_ONCE = 40

Look = tuple[Record, State | None, tuple[str, ...]]
"""A record, its state, and the values found; None with the reason if the lookup failed."""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    stack_files.add_option(parser, stack_files.DEFAULT)
    parser.add_argument(
        "--outputs", metavar="FILE", help="the output of `pulumi stack output --json`; - for stdin"
    )
    parser.add_argument(
        "--resolver", metavar="ADDRESS[:PORT]", help="the resolver (default: the machine's own)"
    )
    parser.add_argument("--all", action="store_true", help="also show what is in order")
    parser.add_argument("domains", nargs="*", metavar="DOMAIN", help="only these (default: all)")


def run(args: Namespace) -> int:
    """Print what is wrong, and a line for each domain."""
    _, settings = stack_files.read_whole(stack_files.chosen(args.stack_file))
    made = _made(args.outputs)
    wanted = expected(settings, made)
    unknown = [name for name in args.domains if name not in wanted]
    if unknown:
        line = f"{unknown[0]} is not a domain of the stack; name one of {', '.join(wanted)}"
        raise CommandError(Exit.USAGE, line)
    in_order = True
    for domain, looks in look_at(wanted, args.domains or wanted, args.resolver):
        bad = [look for look in looks if look[1] is not State.OK]
        in_order = in_order and not bad
        for look in looks if args.all else bad:
            print(f"{shown(domain)}: {told(look)}")
        print(f"{shown(domain)}: {len(looks) - len(bad)} of {len(looks)} records in order")
    if not made.dkim:
        print("DKIM was not checked: only the stack's outputs name its records (--outputs)")
    return Exit.OK if in_order else Exit.NO_RECORD


def look_at(
    wanted: Mapping[str, Sequence[Record]], domains: Iterable[str], resolver: str | None
) -> Iterator[tuple[str, list[Look]]]:
    """Look up the records of each domain."""
    look_up = _resolver(resolver)
    for domain in domains:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            yield domain, list(threads.map(partial(_look, look_up), wanted[domain]))


def _made(given: str | None) -> Made:
    if given is None:
        return Made()
    try:
        text = sys.stdin.read() if given == "-" else Path(given).read_text("utf-8")
        outputs: dict[str, Any] = json.loads(text)
        return Made(outputs["name_servers"], outputs["dkim_records"], outputs["address"])
    except OSError as error:
        line = f"cannot be read ({error.strerror}); give the output of `pulumi stack output --json`"
        raise CommandError(Exit.NO_INPUT, line, source=given) from error
    except (ValueError, KeyError, TypeError) as error:
        line = "is not the output of `pulumi stack output --json` for a deployed stack"
        raise CommandError(Exit.DATA, line, source=given) from error


def _resolver(given: str | None) -> Callable[[Record], tuple[str, ...]]:
    try:
        from postal_plexus.cli import resolving  # noqa: PLC0415 - see above
    except ImportError as error:
        line = "the library dnspython is missing: run `make images` (or pip install dnspython)"
        raise CommandError(Exit.UNAVAILABLE, line) from error
    return resolving.look_up_by(given)


def _look(look_up: Callable[[Record], tuple[str, ...]], record: Record) -> Look:
    try:
        found = look_up(record)
    except LookupError as error:
        return record, None, (str(error),)
    return record, judge(record, found), found


def told(look: Look) -> str:
    """Return a line that describes the state of a record."""
    return ": ".join(_parts(look))


def _parts(look: Look) -> Iterator[str]:
    record, state, found = look
    yield f"{record.type} {record.name}"
    values = "; ".join(value.replace('""', "") for value in record.values)
    should = f"should be {values}" if values else "should be there"
    if state is None:
        yield f"cannot be looked up ({found[0]}); {should}"
    elif state is State.OK:
        yield "ok"
    elif state is State.MISSING:
        yield f"is missing; {should}"
    else:
        yield f"is {'; '.join(sorted(found))}; {should}"
