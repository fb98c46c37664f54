"""What `deliver` loads, which decides about its start-up and its memory."""

from loading import loaded_by

# Each with what it brings along costs milliseconds of 80 and hundreds of kilobytes of 24 MB.
DEAR = {
    "argparse",
    "asyncio",
    "decimal",
    "email",
    "http",
    "logging",
    "pathlib",
    "random",
    "ssl",
    "subprocess",
    "tempfile",
    "traceback",
    "urllib.request",
}


def test_the_service_loads_nothing_dear() -> None:
    """What all of `deliver` needs is loaded at its start, and nothing that is big or slow is."""
    modules = ("service",)
    # -S as in the container: a developer's other packages load modules of their own.
    loaded = loaded_by(*(f"postal_plexus.deliver.{name}" for name in modules), options=("-S",))
    assert "postal_plexus.deliver.service" in loaded
    assert set() == DEAR & loaded
