"""`plexus operator-policy`: the IAM permissions that the operators of a stack need."""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import system
from postal_plexus.cli.exits import Exit

SUMMARY = "print the IAM policy for the operators of a stack"

DETAILS = """
Attach it to a user, group or role, for example with `aws iam create-policy`. It allows the commands
of `plexus` on this one stack; by default everything except reading received mail.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    system.add_options(parser)
    parser.add_argument(
        "--read-only", action="store_true", help="allow only reading: doctor, dead letters, logs"
    )
    parser.add_argument(
        "--mail",
        action="store_true",
        help="also allow reading received mail and the directory: reports, replay, export, restore",
    )
    parser.add_argument(
        "--workmail",
        action="store_true",
        help="also to read who is in Amazon WorkMail: import workmail-users",
    )
    parser.add_argument("--json", action="store_true", help="has no effect: the output is JSON")


@system.reported
def run(args: Namespace) -> int:
    """Print the policy document."""
    from postal_plexus.config.operator_policy import document  # noqa: PLC0415
    from postal_plexus.operations.system import told  # noqa: PLC0415

    stack = system.connect(args)
    if "maintenance" not in stack.parts:
        from postal_plexus.operations.task import Tasks  # noqa: PLC0415

        Tasks(stack)  # the message says what to do
    client = stack.client("sts")
    with told("STS"):
        account = str(client.get_caller_identity()["Account"])
    print(
        document(
            stack.stack,
            account,
            stack.parts,
            acts=not args.read_only,
            mail=args.mail,
            workmail=args.workmail,
        )
    )
    return Exit.OK
