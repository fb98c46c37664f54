"""`plexus password`: the hash of a password, for a mailbox's entry in the stack file.

The password is read from the terminal twice, unseen, or from the standard input where that is no
terminal; never from the command line, which other users of a machine can see. The hash goes to the
standard output and everything else to the standard error, so that it can be piped.

With `--app NAME` an app password is made, for one device or program: random, printed once with its
hash. `plexus app-passwords make` also writes that to the stack file.

The hash is Argon2id with the cost that `directory.password_hash` states and explains: 7 MiB and
five passes, which fits a Dovecot on a host of 512 MB.

Fails with CommandError: DATA where the password is none that a mailbox should have.
"""

import getpass
import json
import sys
from argparse import ArgumentParser, Namespace

from argon2 import PasswordHasher, Type

from postal_plexus.account.strength import LONGEST, SHORTEST, generated
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.problems import NAMESPACE
from postal_plexus.directory import AddressError
from postal_plexus.directory.entries import is_app_name
from postal_plexus.directory.idn import kept_address
from postal_plexus.directory.password_hash import MEMORY_KIB, TIME_COST

SUMMARY = "make the password hash of a mailbox, for its entry in the stack file"
DETAILS = """
The password is read twice from the terminal, unseen, or from the standard input; never from the
command line. It has 12 characters or more. The hash goes to the standard output, all else to the
standard error.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "address",
        nargs="?",
        metavar="ADDRESS",
        help="whose it will be; the output is then an entry for the stack file",
    )
    parser.add_argument(
        "--generate",
        action="store_true",
        help="make a strong password as well, and print both",
    )
    parser.add_argument(
        "--app",
        metavar="NAME",
        help="make a strong password for one device or program, such as `phone`, and print both",
    )


def run(args: Namespace) -> int:
    """Print the hash, or the entry that holds it."""
    address = args.address
    if address is not None:
        checked_address(address)
    if args.app is not None:
        _print_app_password(address, checked_app_name(args.app))
        return Exit.OK
    password = generated() if args.generate else entered()
    password_hash = hashed(password)
    if args.generate:
        print(f"password: {password}")
    if address is not None:
        # JSON's quotes are YAML's too, whatever an address holds.
        print(f"- address: {json.dumps(address, ensure_ascii=False)}")
        print(f"  password-hash: {json.dumps(password_hash)}")
    elif args.generate:
        print(f"password-hash: {json.dumps(password_hash)}")
    else:
        print(password_hash)
    if sys.stdout.isatty():
        print(f"It belongs under {NAMESPACE}:mailboxes in the stack file.", file=sys.stderr)
    return Exit.OK


def _print_app_password(address: str | None, name: str) -> None:
    password = generated()
    print(f"password: {password}")
    # JSON's quotes are YAML's too. A name may look like a number or a truth value.
    line = f"{json.dumps(name)}: {json.dumps(hashed(password))}"
    if address is None:
        print(f"app-passwords:\n  {line}")
    else:
        print(f"- address: {json.dumps(address, ensure_ascii=False)}\n  app-passwords:\n    {line}")
    if sys.stdout.isatty():
        place = f"the mailbox's entry under {NAMESPACE}:mailboxes"
        print(f"Its line belongs into {place}. To revoke it, take that out.", file=sys.stderr)


def hashed(password: str) -> str:
    """The password's hash in Dovecot's form, with a new salt."""
    hasher = PasswordHasher(
        time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=1, type=Type.ID
    )
    return f"{{ARGON2ID}}{hasher.hash(password)}"


def entered() -> str:
    """The password, from the terminal or the standard input; raise CommandError for a bad one."""
    return _checked(_read())


def _read() -> str:
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("Once more: "):
            raise CommandError(Exit.DATA, "the two passwords differ; try again")
        return password
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise CommandError(Exit.DATA, "the password is not UTF-8; send it as UTF-8") from error
    return text.removesuffix("\n").removesuffix("\r")


def _checked(password: str) -> str:
    remedy = "choose another, or let one be made: plexus password --generate"
    if len(password) < SHORTEST:
        what = f"the password has {len(password)} characters, and {SHORTEST} are the fewest"
        raise CommandError(Exit.DATA, f"{what}; {remedy}")
    if len(password) > LONGEST:
        what = f"the password has {len(password)} characters, and {LONGEST} are the most"
        raise CommandError(Exit.DATA, f"{what}; {remedy}")
    if not password.isprintable():
        what = "the password has a character that cannot be typed, or more than one line"
        raise CommandError(Exit.DATA, f"{what}; {remedy}")
    return password


def checked_app_name(text: str) -> str:
    """The name of an app password; raises CommandError where it cannot be one."""
    if not is_app_name(text):
        line = f"{text!r} cannot name an app password; use a to z, 0 to 9 and -, such as phone"
        raise CommandError(Exit.USAGE, line)
    return text


def checked_address(text: str) -> str:
    """The address as the directory keeps it; raises CommandError where it is none."""
    try:
        return str(kept_address(text)).lower()
    except AddressError as error:
        line = f"the address {text!r} {error}; write it as ann@example.org"
        raise CommandError(Exit.USAGE, line) from error
