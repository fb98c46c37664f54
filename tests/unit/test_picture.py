"""The README's picture of `make run`: what it shows, and what it must not."""

import re
from collections.abc import Iterator
from types import ModuleType
from xml.etree import ElementTree

import pytest

from loading import ROOT, tool

OUTPUT = """deliver: healthy
A message arrives:
       63 ms  SES accepted a message
The desk in /home/me/mail/.desk is healthy.
             localhost port 1587, STARTTLS
  CA         /home/me/mail/.desk/ca/ca.pem
  user       ann@example.org, password daw5GaOPce2wU29X
Console:             http://127.0.0.1:8025/?token=kEy7x
"""


@pytest.fixture
def picture() -> Iterator[ModuleType]:
    """Provide the program."""
    with tool("picture") as module:
        yield module


def texts(svg: str) -> str:
    """Return all that is written in a picture, with plain blanks."""
    return "\n".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ")


def test_path_passwords_and_token_are_not_shown(picture: ModuleType) -> None:
    """The picture shows neither the machine's paths nor what opens a mailbox or the console."""
    shown = texts(picture.drawn(OUTPUT))
    assert "~/postal-plexus/.desk/ca/ca.pem" in shown
    assert "63 ms" in shown
    assert not re.search("/home/me|daw5|kEy7", shown)


def test_an_output_that_went_wrong_is_not_drawn(picture: ModuleType) -> None:
    """Half a run is not what the README promises."""
    with pytest.raises(SystemExit):
        picture.drawn("bootstrap: missing here: podman\n")


def test_the_picture_of_the_readme_is_such_a_one() -> None:
    """It is there, shows a mail in and one out, and fetches nothing."""
    assert "](docs/make-run.svg)" in (ROOT / "README.md").read_text()
    svg = (ROOT / "docs/make-run.svg").read_text()
    assert {"A message arrives:", "A reply leaves:"} <= set(texts(svg).splitlines())
    assert not re.search(r"url\((?!#)|href|@import", svg)
