"""`plexus password`: the hash of a password, for a mailbox's entry in the stack file.

The password is read twice from the terminal without echo, or from standard input if that is not a
terminal; never from the command line, which other users of the machine can see. The hash is printed
on standard output and everything else on standard error, so that it can be piped.

`--app NAME` generates an app password for one device or program, and prints it once with its hash.
`plexus app-passwords make` also writes the hash to the stack file.

The hash is Argon2id with the cost that `directory.password_hash` specifies and explains: 7 MiB and
five passes, which fits Dovecot on a host with 512 MB.

Raises CommandError: DATA if the password is not acceptable for a mailbox.
"""

import getpass
import json
import sys
from argparse import ArgumentParser, Namespace

from argon2 import PasswordHasher, Type

from postal_plexus.account.strength import LONGEST, SHORTEST, generated
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.problems import NAMESPACE
from postal_plexus.directory.entries import is_app_name
from postal_plexus.directory.password_hash import MEMORY_KIB, TIME_COST

SUMMARY = "create a mailbox's password hash for its entry in the stack file"
DETAILS = """
The password is read twice from the terminal without echo, or from standard input; never from the
command line. It must have at least 12 characters. The hash is printed on standard output, all other
output on standard error.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "address",
        nargs="?",
        metavar="ADDRESS",
        help="the mailbox; the output is then an entry for the stack file",
    )
    parser.add_argument(
        "--generate",
        action="store_true",
        help="generate a strong password, and print both",
    )
    parser.add_argument(
        "--app",
        metavar="NAME",
        help="generate a strong password for a device or program, such as `phone`, and print both",
    )


def run(args: Namespace) -> int:
    """Print the hash, or the entry that contains it."""
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
        # A JSON string is valid YAML, whatever an address contains.
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
    # A JSON string is valid YAML. A name may look like a number or a boolean.
    line = f"{json.dumps(name)}: {json.dumps(hashed(password))}"
    if address is None:
        print(f"app-passwords:\n  {line}")
    else:
        print(f"- address: {json.dumps(address, ensure_ascii=False)}\n  app-passwords:\n    {line}")
    if sys.stdout.isatty():
        place = f"the mailbox's entry under {NAMESPACE}:mailboxes"
        print(f"Its line belongs into {place}. To revoke it, remove that line.", file=sys.stderr)


def hashed(password: str) -> str:
    """Return the password's hash in Dovecot's form, with a new salt."""
    hasher = PasswordHasher(
        time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=1, type=Type.ID
    )
    return f"{{ARGON2ID}}{hasher.hash(password)}"


def entered() -> str:
    """Return the password from the terminal or standard input. Raise CommandError for a bad one."""
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
    remedy = "choose another, or let plexus generate one: plexus password --generate"
    if len(password) < SHORTEST:
        what = f"the password has {len(password)} characters, but needs at least {SHORTEST}"
        raise CommandError(Exit.DATA, f"{what}; {remedy}")
    if len(password) > LONGEST:
        what = f"the password has {len(password)} characters, but may have at most {LONGEST}"
        raise CommandError(Exit.DATA, f"{what}; {remedy}")
    if not password.isprintable():
        what = "the password has a character that cannot be typed, or more than one line"
        raise CommandError(Exit.DATA, f"{what}; {remedy}")
    return password


def checked_app_name(text: str) -> str:
    """Return the name of an app password. Raise CommandError if it is not valid."""
    if not is_app_name(text):
        line = f"{text!r} cannot name an app password; use a to z, 0 to 9 and -, such as phone"
        raise CommandError(Exit.USAGE, line)
    return text
