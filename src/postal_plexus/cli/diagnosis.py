"""What `plexus doctor` does: check a stack, and print the findings."""

import json
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain

from postal_plexus.cli import dns, stack_files, system
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.dns_records import Made, State, expected
from postal_plexus.operations.alarm_topic import tell_findings
from postal_plexus.operations.examination import Examination
from postal_plexus.operations.findings import Finding, Level, ok, unknown, warning
from postal_plexus.operations.system import System

_EXITS = {Level.CRITICAL: Exit.CRITICAL, Level.WARNING: Exit.WARNING}


def run(args: Namespace) -> int:
    """Print the findings; the worst determines the exit code."""
    stack = system.connect(args)
    _ = stack.parts  # a missing stack ends here, not in fifteen findings
    findings: list[Finding] = []
    for finding in chain(_records(args, stack), Examination(stack, args.domains).run()):
        findings.append(finding)
        if not args.json and (args.all or finding.level is not Level.OK):
            print(*finding.lines(), sep="\n", flush=True)
    worst = max(finding.level for finding in findings)
    if args.json:
        document = [{**asdict(each), "level": each.level.name.lower()} for each in findings]
        print(json.dumps({"worst": worst.name.lower(), "findings": document}, indent=2))
    else:
        good = sum(finding.level is Level.OK for finding in findings)
        print(f"{good} of {len(findings)} checks are in order")
    if args.mail:
        tell_findings(stack, findings)
    return _EXITS.get(worst, Exit.OK)


def _records(args: Namespace, stack: System) -> Iterator[Finding]:
    """Check the public DNS, if a stack file specifies what it should contain."""
    if args.stack_file is None:
        return
    _, settings = stack_files.read_whole(args.stack_file)
    wanted = expected(settings, Made(dkim={each: stack.dkim(each) for each in settings.domains}))
    unknown_ones = [name for name in args.domains if name not in wanted]
    if unknown_ones:
        line = f"{unknown_ones[0]} is not a domain of the stack; name one of {', '.join(wanted)}"
        raise CommandError(Exit.USAGE, line)
    for domain, looks in dns.look_at(wanted, args.domains or wanted, args.resolver):
        bad = [look for look in looks if look[1] is not State.OK]
        for look in bad:
            judge = unknown if look[1] is None else warning
            yield judge(
                f"records {domain}", dns.told(look), "set it where the domain's DNS is kept"
            )
        if not bad:
            yield ok(f"records {domain}", f"all {len(looks)} are as they should be")
