"""Edits of a stack file's text change only what was requested."""

import difflib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.config.edit import (
    with_alias,
    with_another_address,
    with_mailbox,
    without_alias,
    without_mailbox,
)
from postal_plexus.config.problems import StackError
from stack_mistakes import HASH

WRITTEN = f"""# who we are
config:
  aws:region: us-east-1   # cheap
  postal-plexus:domains:
    - example.org
    - name: bücher.example
      catch-all: 'ann+rest@example.org'
  postal-plexus:mailboxes:
    # the boss
    - address: Ann@example.org   # since 2020
      password-hash: "{HASH}"
      # quota-gb: 50

    - password-hash: "{HASH}"
      address: "ben@bücher.example"
      send-as: [ann@example.org]
      # of ben, too
  # other addresses
  postal-plexus:aliases:
  - address: info@example.org    # both
    destinations: [ann@example.org, ben@bücher.example]
  - address: away@example.org
    destinations:
      - zoe@example.com
      # at work
      - ben+work@bücher.example
  # the end
  postal-plexus:log-days: 30
"""


def changes(before: str, after: str) -> list[str]:
    """Return the removed and added lines, as diff shows them."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def lists(text: str) -> dict[str, list[dict[str, object]]]:
    """Return the lists in the text."""
    config = yaml.safe_load(text)["config"]
    return {key.partition(":")[2]: value for key, value in config.items()}


def test_a_mailbox_comes_and_goes() -> None:
    """A mailbox is added below the others and their comments; removing it restores the file."""
    more = with_mailbox(WRITTEN, "Carl@example.org", HASH, 50)
    expected = [
        "+    - address: Carl@example.org",
        f'+      password-hash: "{HASH}"',
        "+      quota-gb: 50",
    ]
    assert expected == changes(WRITTEN, more)
    assert more.index("# of ben, too") < more.index("Carl") < more.index("# other addresses")
    assert WRITTEN == without_mailbox(more, "carl@EXAMPLE.org")


def test_a_mailbox_goes_with_what_stands_in_its_lines() -> None:
    """Comments within its entry are removed too; those above and beside it stay."""
    gone = ["-    - address: Ann@example.org   # since 2020", f'-      password-hash: "{HASH}"']
    assert [*gone, "-      # quota-gb: 50"] == changes(
        WRITTEN, without_mailbox(WRITTEN, "ann@example.org")
    )


def test_everywhere_takes_out_what_leads_to_it() -> None:
    """Removes destinations, catch-alls, send-as entries, and aliases that would have no destination."""
    text = with_alias(WRITTEN, "boss@example.org", ["ann@example.org"])
    text = with_alias(text, "chief@example.org", ["boss@example.org"])
    left = lists(without_mailbox(text, "ann@example.org", everywhere=True))
    assert ["example.org", {"name": "bücher.example"}] == left["domains"]
    assert [{"password-hash": HASH, "address": "ben@bücher.example"}] == left["mailboxes"]
    assert ["info@example.org", "away@example.org"] == [each["address"] for each in left["aliases"]]
    assert ["ben@bücher.example"] == left["aliases"][0]["destinations"]


def test_another_address() -> None:
    """All references change, with quotes and subaddresses; the mail stays; the old address is an alias."""
    expected = [
        "-      catch-all: 'ann+rest@example.org'",
        "+      catch-all: 'anna.b+rest@example.org'",
        "-    - address: Ann@example.org   # since 2020",
        "+    - address: anna.b@example.org   # since 2020",
        "+      stored-as: ann@example.org",
        "-      send-as: [ann@example.org]",
        "+      send-as: [anna.b@example.org]",
        "-    destinations: [ann@example.org, ben@bücher.example]",
        "+    destinations: [anna.b@example.org, ben@bücher.example]",
        "+  - address: ann@example.org",
        "+    destinations: [anna.b@example.org]",
    ]
    renamed = with_another_address(WRITTEN, "ann@example.org", "anna.b@example.org")
    assert expected == changes(WRITTEN, renamed)


def test_an_address_and_back() -> None:
    """The mail never moves: a second name keeps the first storage, and the first name needs no `stored-as`."""
    second = with_another_address(WRITTEN, "ann@example.org", "anna@example.org", alias=False)
    third = with_another_address(second, "anna@example.org", "anne@example.org")
    assert "ann@example.org" == lists(third)["mailboxes"][0]["stored-as"]
    first = with_another_address(third, "anne@example.org", "Ann@example.org", alias=False)
    assert "stored-as" not in lists(first)["mailboxes"][0]
    assert WRITTEN == without_alias(first, "anna@example.org").replace(
        "send-as: [Ann@", "send-as: [ann@"
    ).replace("destinations: [Ann@", "destinations: [ann@").replace("'Ann+rest@", "'ann+rest@")


def test_an_alias_becomes_the_address() -> None:
    """The alias is removed if it has no other destination, and no list contains duplicates."""
    text = with_alias(WRITTEN, "anna@example.org", ["ann@example.org"])
    text = with_alias(text, "info@example.org", ["anna@example.org"])
    renamed = lists(with_another_address(text, "ann@example.org", "anna@example.org"))
    assert ["anna@example.org", "ben@bücher.example"] != renamed["aliases"][0]["destinations"]
    assert ["ben@bücher.example", "anna@example.org"] == renamed["aliases"][0]["destinations"]
    addresses = [each["address"] for each in renamed["aliases"]]
    assert ["info@example.org", "away@example.org", "ann@example.org"] == addresses


def test_the_place_of_a_renamed_mailbox_is_not_given_away() -> None:
    """A new mailbox with the old address gets its own storage."""
    text = with_another_address(WRITTEN, "ann@example.org", "anna@example.org", alias=False)
    text = with_mailbox(text, "ann@example.org", HASH)
    assert "ann.2@example.org" == lists(text)["mailboxes"][-1]["stored-as"]


def test_destinations_come_and_go() -> None:
    """Destinations are added and removed, in lists between brackets and on lines."""
    more = with_alias(WRITTEN, "INFO@example.org", ["zoe@example.com"])
    expected = "+    destinations: [ann@example.org, ben@bücher.example, zoe@example.com]"
    assert expected == changes(WRITTEN, more)[1]
    assert WRITTEN == without_alias(more, "info@example.org", ["zoe@example.com"])
    more = with_alias(WRITTEN, "away@example.org", ["ann@example.org"])
    assert ["+      - ann@example.org"] == changes(WRITTEN, more)
    fewer = without_alias(more, "away@example.org", ["zoe@example.com"])
    assert ["-      - zoe@example.com", "-      # at work"] != changes(more, fewer)
    assert ["-      - zoe@example.com"] == changes(more, fewer)
    with pytest.raises(StackError, match=r"does not lead to.*Did you mean zoe@example.com"):
        without_alias(WRITTEN, "away@example.org", ["zoo@example.com"])


HEAD = "config:\n  postal-plexus:domains: [example.org]\n  postal-plexus:mailboxes:"
ANN = f'{{address: ann@example.org, password-hash: "{HASH}"}}'


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}\n    - {ANN}\n",
        f"{HEAD} [{ANN}]\n",
        f"{HEAD} [\n    {ANN},\n    # nobody else\n  ]\n",
        f"{HEAD}\n  - {ANN}",
        f"{HEAD}\n    -\n      address: ann@example.org\n      password-hash: x\n",
        f"{HEAD}\n    -   address: ann@example.org\n        password-hash: x\n",
        f"{HEAD}\n    - address: ann@example.org\n      password-hash: >-\n        x\n        y\n\n",
        f"{HEAD}\n    - address: ann@example.org\n      password-hash: x\n  postal-plexus:aliases: []  # none\n",
        f"{HEAD}\n    - {ANN}\n  postal-plexus:aliases:\n  postal-plexus:spot: true\n",
        f"{HEAD}\n    - {ANN}\n  postal-plexus:aliases: null\n",
        f"{HEAD}\n    - {ANN}\n  'postal-plexus:aliases': [\n  ]\n",
        f"\ufeff{HEAD}\n    - {ANN}\n",
        f'{HEAD}\n    - {ANN}\n  "postal-plexus:log-days": 30 # \N{SNOWMAN}\t odd\n',
    ],
)
def test_however_it_is_written(text: str) -> None:
    """Brackets, empty lists, any indentation, folded texts, and no last line end are handled."""
    before = lists(text)
    more = with_alias(with_mailbox(text, "ben@example.org", HASH), "b@example.org", ["x@y.example"])
    after = lists(more)
    assert [*before["mailboxes"], {"address": "ben@example.org", "password-hash": HASH}] == after[
        "mailboxes"
    ]
    assert [{"address": "b@example.org", "destinations": ["x@y.example"]}] == after["aliases"]
    fewer = without_mailbox(without_alias(more, "b@example.org"), "ben@example.org")
    assert before["mailboxes"] == lists(fewer)["mailboxes"]
    assert not lists(fewer)["aliases"]
    renamed = with_another_address(fewer, "ann@example.org", "o'ann@example.org")
    assert "o'ann@example.org" == lists(renamed)["mailboxes"][0]["address"]
    for comment in ("# nobody else", "# none", "odd"):
        assert (comment in text) == (comment in renamed)


@pytest.mark.parametrize(
    "text",
    [
        # Anchors: one line stands for two places.
        f"{HEAD}\n    - &ann {ANN}\n    - *ann\n",
        f'{HEAD}\n    - address: ann@example.org\n      password-hash: &h "{HASH}"\n    - address: b@x\n      password-hash: *h\n',
        # A text that Pulumi reads as JSON.
        f'{HEAD} \'[{{"address": "ann@example.org"}}]\'\n',
        # Not what should be there at all.
        f"{HEAD} 5\n",
        f"{HEAD}\n    - ann@example.org\n",
        "config: {}\n",
        "[]\n",
        "",
        "config:\n\tpostal-plexus:mailboxes: []\n",
        f"{HEAD}\n    - {ANN}\n    - {{\n",
    ],
)
def test_what_cannot_be_edited_is_refused(text: str) -> None:
    """The error has the remedy, and the text is unchanged."""
    with pytest.raises(StackError, match=r"by hand|has no mailbox"):
        without_mailbox(text, "ann@example.org")


@given(st.text(st.sampled_from("-#[]{}:'\"\\&*!|>%@`,\n \t\rabüé\u2028\x85"), max_size=40))
def test_anything_is_edited_rightly_or_refused(noise: str) -> None:
    """Any text keeps its meaning and gets the mailbox, or the edit is refused."""
    text = f'{HEAD}\n    - address: ann@example.org\n      password-hash: "{HASH}"\n{noise}'
    try:
        more = with_mailbox(text, "ben@example.org", HASH)
    except StackError:
        return
    before, after = yaml.safe_load(text), yaml.safe_load(more)
    assert "ben@example.org" == after["config"]["postal-plexus:mailboxes"].pop()["address"]
    assert before == after
    assert all(line in more for line in noise.split("\n"))
