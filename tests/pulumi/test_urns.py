"""A stack in service keeps its resources: the template's have the URNs that they always had.

A URN that goes is a resource that Pulumi destroys, and one that is new beside it is made empty. To
rename or move one, give it an alias (`pulumi.Alias`) and both names here; what is only new is
added by running this file as a program.
"""

from pathlib import Path

import pytest
from registrations import PROGRAM, Run, record, stack_configuration

KEPT = Path(__file__).with_name("urns.txt")


@pytest.fixture(scope="module")
def urns(run: Run) -> list[str]:
    """Provide the registrations of all resources and components, in order."""
    return sorted(entry.urn for entry in run.registrations)


def test_no_resource_is_replaced(urns: list[str]) -> None:
    """Every URN of before is registered, and every URN that is registered is written down."""
    assert KEPT.read_text().splitlines() == urns


if __name__ == "__main__":
    template = record(stack_configuration(PROGRAM / "Pulumi.prod.yaml"), certificates=True)
    KEPT.write_text("".join(f"{entry.urn}\n" for entry in template.registrations))
