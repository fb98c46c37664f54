"""Check a stack as `plexus doctor` does, and mail what is not in order: the weekly run in AWS.

    python3 -m postal_plexus.operations.weekly STACK

It needs only boto3, and no stack file; therefore it does not check the public DNS. It prints every
finding for the build's log.

Exit status: 0 checked, and mailed what is not in order; 1 AWS refuses, or there is no alarm
address; 2 no stack was named.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from postal_plexus.operations.alarm_topic import tell_findings
from postal_plexus.operations.examination import Examination
from postal_plexus.operations.system import OperationError, System

if TYPE_CHECKING:
    from postal_plexus.operations.findings import Finding


def look(system: System) -> None:
    """Print all findings and mail those not in order. Raise OperationError."""
    _ = system.parts  # a missing stack ends here, not in fifteen findings
    findings: list[Finding] = []
    for finding in Examination(system, ()).run():
        findings.append(finding)
        sys.stdout.write("\n".join([*finding.lines(), ""]))
    tell_findings(system, findings)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.stderr.write("doctor: name the stack\n")
        sys.exit(2)
    try:
        look(System(sys.argv[1]))
    except OperationError as error:
        sys.exit(f"doctor: {error}")
