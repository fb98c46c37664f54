"""Who shares what: from the stack file to Radicale's rights and links in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.calendars.links import create_shared, link_shared
from postal_plexus.calendars.recurrence import recurs_too_often
from postal_plexus.calendars.shares import (
    Share,
    SharesError,
    permissions,
    read_shares,
    shares_of,
)
from postal_plexus.config.problems import StackError
from postal_plexus.config.settings import read_settings
from postal_plexus.config.sharing import rendered

HASH = "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$cmVwbGFjZWQgb24gYSBkZXNr$bm8gcGFzc3dvcmQgaGFzIHRoaXMgaGFzaCBvbiBkZXNrIQ"
ANN, BEN, CARL = "ann@example.org", "ben@example.org", "carl@example.org"


def settings(**keys: Any) -> Any:
    """Return the settings of a stack with three mailboxes, of which one was renamed."""
    config = {
        "domains": ["example.org", "example.net"],
        "mailboxes": [
            {"address": ANN, "password-hash": HASH},
            {"address": BEN, "password-hash": HASH},
            {"address": "carla@example.net", "password-hash": HASH, "stored-as": CARL},
        ],
        "aliases": [{"address": "info@example.org", "destinations": [ANN]}],
        "calendars": True,
    }
    given_keys = {key.replace("_", "-"): value for key, value in keys.items()}
    return read_settings("prod", "us-east-1", config | given_keys)


def test_members_are_mailboxes_and_domains_by_first_addresses() -> None:
    """What one mailbox may do counts before what all of its domain may."""
    stack = settings(
        shared_calendars={"family": {"Example.ORG": "read", "Ann@example.org": "write"}},
        shared_address_books={"all": {"example.net": "write"}},
    )
    found = {
        (share.kind, share.name): {
            user: share.right_of(user) for user in (ANN, BEN, CARL, "eva@example.net", "x")
        }
        for share in read_shares(rendered(stack.shared))
    }
    # The third has moved from example.org to example.net.
    assert found == {
        ("calendars", "family"): {
            ANN: "write",
            BEN: "read",
            CARL: "",
            "eva@example.net": "",
            "x": "",
        },
        ("address-books", "all"): {
            ANN: "",
            BEN: "",
            CARL: "write",
            "eva@example.net": "write",
            "x": "",
        },
    }
    assert settings().shared == {}
    assert read_shares(rendered({})) == ()


def test_a_new_mailbox_of_a_domain_changes_nothing_of_the_web_container() -> None:
    """Else it would be restarted, and end everybody's webmail session."""
    shares = {"all": {"example.org": "read", "example.net": "write"}}
    few = settings(shared_calendars=shares)
    boxes = [{"address": f"{name}@example.org", "password-hash": HASH} for name in ("ann", "eva")]
    moved = {"address": "carla@example.net", "password-hash": HASH, "stored-as": CARL}
    assert rendered(few.shared) == rendered(
        settings(shared_calendars=shares, mailboxes=[*boxes, moved]).shared
    )


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"shared_calendars": {"family": {"info@example.org": "read"}}},
            "an alias has no calendars",
        ),
        ({"shared_calendars": {"family": {"eva@elsewhere.example": "read"}}}, "neither a mailbox"),
        ({"shared_calendars": {"family": {ANN: "own"}}}, "read}"),
        ({"shared_calendars": {"Family!": {ANN: "read"}}}, "a-z, 0-9 and -"),
        ({"shared_calendars": {"..": {ANN: "read"}}}, "a-z, 0-9 and -"),
        ({"shared_calendars": ["family"]}, "family: {"),
        ({"shared_address_books": {"a": {ANN: "read"}}, "calendars": False}, "calendars: true"),
        ({"shared_calendars": {f"n{i:031}": {"example.org": "read"} for i in range(500)}}, "24 KB"),
    ],
)
def test_what_cannot_be_shared_is_told_with_its_remedy(keys: dict[str, Any], says: str) -> None:
    """A wrong member, right, name, form or size ends in one problem that says what is allowed."""
    with pytest.raises(StackError) as told:
        settings(**keys)
    assert says in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "x", "null", '{"calendars": []}', '{"calendars": {"a": []}}', '{"mail": {}}'),
        *('{"calendars": {"a": {"b": "own"}}}', '{"calendars": {"../a": {}}}', "[" * 99_999),
    ],
)
def test_other_texts_do_not_say_who_shares(text: str) -> None:
    """The container's variable is read strictly: anything else raises, and shares nothing."""
    with pytest.raises(SharesError):
        read_shares(text)


FAMILY = Share("family", "calendars", {ANN: "write", BEN: "read"})
BOOK = Share("family", "address-books", {ANN: "read"})


@pytest.mark.parametrize(
    ("user", "path", "granted"),
    [
        ("", "/", ""),
        ("", f"/{ANN}/", ""),
        (ANN, "/", "R"),
        (ANN, f"/{ANN}/", "RW"),
        (ANN, f"/{ANN}/calendar/", "rw"),
        (ANN, f"/{ANN}/calendar/a.ics", ""),
        (ANN, f"/{BEN}/", ""),
        (ANN, f"/{BEN}/calendar/", ""),
        (ANN, f"/{ANN}/shared.family/", "rwd"),
        (BEN, f"/{BEN}/shared.family/", "r"),
        (CARL, f"/{CARL}/shared.family/", ""),
        (ANN, f"/{ANN}/shared.family.cards/", "r"),
        (BEN, f"/{BEN}/shared.family.cards/", ""),
        (ANN, f"/{ANN}/shared.other/", ""),
    ],
)
def test_what_a_user_may_do_with_a_path(user: str, path: str, granted: str) -> None:
    """Radicale's rights: upper case for the home, else for a calendar; `d` forbids its removal."""
    assert granted == permissions(user, path, (FAMILY, BOOK))


@given(st.text(st.sampled_from("/.@abnself\\~% "), max_size=40))
def test_no_path_outside_the_home_grants_anything(path: str) -> None:
    """But the root, where a program asks who it is."""
    granted = permissions("ann", path, (FAMILY,))
    parts = [part for part in path.split("/") if part]
    assert not granted or parts == [] or parts[0] == "ann"


def test_links_follow_the_shares_and_nothing_else_goes(tmp_path: Path) -> None:
    """A user's own directory is never touched, and a share that ends keeps its events."""
    home = tmp_path / "collection-root" / ANN
    home.mkdir(parents=True)
    (home / "shared.own").mkdir()
    create_shared(tmp_path, (FAMILY, BOOK))
    link_shared(tmp_path, ANN, (FAMILY, BOOK))
    assert {"shared.family", "shared.family.cards", "shared.own"} == {
        e.name for e in home.iterdir()
    }
    (home / "shared.family" / "a.ics").write_text("an event")
    assert '"tag": "VADDRESSBOOK"' in (home / "shared.family.cards/.Radicale.props").read_text()
    (home / "shared.family" / ".Radicale.props").write_text("renamed by its users")
    create_shared(tmp_path, (FAMILY,))
    assert "renamed by its users" == (home / "shared.family" / ".Radicale.props").read_text()
    link_shared(tmp_path, ANN, (BOOK,))
    assert {"shared.family.cards", "shared.own"} == {e.name for e in home.iterdir()}
    assert "an event" == (tmp_path / "shared/calendars/family/a.ics").read_text()
    link_shared(tmp_path, "nobody@example.org", (FAMILY,))
    assert not (home.parent / "nobody@example.org").exists()
    assert shares_of(BEN, (FAMILY, BOOK)) == {"shared.family": FAMILY}


def rule(*lines: str) -> str:
    return "\r\n".join(("BEGIN:VEVENT", "DTSTART:20261201T120000Z", *lines, "END:VEVENT"))


@pytest.mark.parametrize(
    "line",
    [
        *("", "SUMMARY:RRULE:FREQ=SECONDLY", "RRULE:FREQ=DAILY", "RRULE:FREQ=YEARLY;COUNT=99"),
        *("RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "RRULE:FREQ=DAILY;UNTIL=20991231"),
        *("RRULE:FREQ=DAILY;BYHOUR=8,12,18", "RRULE:FREQ=HOURLY;COUNT=100", "RRULE:FREQ=HOURLY"),
        *(
            "RRULE:FREQ=MONTHLY;BYMONTHDAY=31",
            "RRULE:",
            "RRULE:;;=;FREQ",
            "RRULE:FREQ=DAILY;INTERVAL=0",
        ),
    ],
)
def test_what_people_repeat_is_stored(line: str) -> None:
    """Rules that calendar programs write, and those that Radicale itself refuses."""
    assert not recurs_too_often(rule(line))


@pytest.mark.parametrize(
    "line",
    [
        *("RRULE:FREQ=SECONDLY", "RRULE:FREQ=MINUTELY;COUNT=3", "rrule:freq=secondly;count=1"),
        *(
            "RRULE;X=1:FREQ=SECONDLY",
            "RRULE;;X=1:FREQ=SECONDLY",
            "RRULE;X,y:FREQ=SECONDLY",
            "RRULE:FREQ=SECO\r\n NDLY",
            "EXRULE:FREQ=MINUTELY",
        ),
        # As vobject reads them: with a group, a fold of its own, or an encoding.
        *("a.RRULE:FREQ=SECONDLY", "RRU\r\r\n LE:FREQ=SECONDLY", " x\nRRULE:FREQ=SECONDLY"),
        *("RRULE;QUOTED-PRINTABLE:FREQ=3DDAILY", 'RRULE;X=":":FREQ=SECONDLY'),
        *("RRULE:FREQ=DAILY;COUNT=9999999999", "RRULE:FREQ=DAILY;UNTIL=99991231T000000Z"),
        *(
            "RRULE:FREQ=DAILY;BYHOUR=1,2,3,4;BYMINUTE=1,2,3,4,5;BYSECOND=1,2,3",
            "RRULE: FREQ=SECONDLY",
        ),
        *(
            "RRULE:COUNT=3;FREQ=SECONDLY",
            "RRULE:FREQ=HOURLY;BYMINUTE=0,10",
            "RRULE:FREQ=HOURLY;COUNT=999999",
        ),
    ],
)
def test_what_would_take_minutes_is_not(line: str) -> None:
    """Rules with too many instances, also hidden by case, parameters, folding or a second rule."""
    assert recurs_too_often(rule("RRULE:FREQ=DAILY", line))


def test_an_early_start_counts() -> None:
    """An hourly rule of the year 1."""
    assert recurs_too_often("DTSTART:00010101T000000Z\r\nRRULE:FREQ=HOURLY")
