"""The template's registrations, recorded once for all tests that only look at them."""

import pytest
from registrations import PROGRAM, TWO_HOSTS, Run, record, stack_configuration


@pytest.fixture(scope="session")
def run() -> Run:
    """The template, with its certificates issued."""
    return record(stack_configuration(PROGRAM / "Pulumi.prod.yaml"), certificates=True)


@pytest.fixture(scope="session")
def everything() -> Run:
    """The template, with all that it may have."""
    config = stack_configuration(PROGRAM / "Pulumi.prod.yaml")
    more = {"ssm-access": True, "doctor": "weekly", "webmail": True, "calendars": True}
    more["webmail-names"] = True
    named = {f"postal-plexus:{key}": value for key, value in more.items()}
    return record({**config, **named}, certificates=True)


@pytest.fixture(scope="session")
def two() -> Run:
    """The template with a second host, on which example.net lives."""
    return record(TWO_HOSTS, certificates=True)
