"""The directory object: one JSON document, and only sound ones are read."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_directories import HASH, directories, large_directory

from loading import loaded_by
from postal_plexus.directory import Directory, DirectoryError


def document(**changes: object) -> dict[str, Any]:
    """Return a small document, with changes."""
    sound = {
        "version": 1,
        "domains": [
            {"name": "example.org"},
            {"name": "example.net", "catch_all": "ann@example.org"},
        ],
        "mailboxes": [{"address": "ann@example.org", "password_hash": HASH}],
        "aliases": [{"address": "info@example.org", "destinations": ["ann@example.org"]}],
    }
    return sound | changes


@given(directories())
def test_round_trip(made: Directory) -> None:
    """What is written is read back the same, and written again to the same bytes."""
    written = made.to_json()
    assert made == Directory.from_json(written)
    assert written == Directory.from_json(written).to_json()


def test_the_form_of_the_object() -> None:
    """The schema is a contract between programs of different ages, so its bytes are held."""
    read = Directory.from_json(json.dumps(document()).encode())
    expected = json.dumps(document(), separators=(",", ":")).encode() + b"\n"
    assert expected == read.to_json()


def test_the_form_of_app_passwords() -> None:
    """App passwords are a list of names and hashes, which older containers ignore."""
    with_app = document()
    with_app["mailboxes"][0]["app_passwords"] = [{"name": "phone", "password_hash": HASH}]
    read = Directory.from_json(json.dumps(with_app).encode())
    assert (("phone", HASH),) == read.mailboxes[0].app_passwords
    assert json.dumps(with_app, separators=(",", ":")).encode() + b"\n" == read.to_json()


@pytest.mark.parametrize(
    ("app_passwords", "what"),
    [
        ([{"name": "a b", "password_hash": HASH}], "has an app password named 'a b'"),
        ([{"name": "main", "password_hash": HASH}], "has an app password named 'main'"),
        ([{"name": "phone", "password_hash": "x y"}], "has a password hash for phone"),
        ([{"name": "phone", "password_hash": HASH}] * 2, "has an app password twice"),
        ([{"name": "phone"}], "has no text password_hash in app_passwords[0]"),
        ({"phone": HASH}, "has no list app_passwords in mailboxes[0]"),
    ],
)
def test_unsound_app_passwords(app_passwords: object, what: str) -> None:
    """What could mean something else in Dovecot's table is refused."""
    broken = document()
    broken["mailboxes"][0]["app_passwords"] = app_passwords
    with pytest.raises(DirectoryError) as refused:
        Directory.from_json(json.dumps(broken).encode())
    assert what in str(refused.value)


def test_the_form_of_send_as() -> None:
    """Who may send as whom is a list of addresses."""
    with_list = document()
    with_list["mailboxes"][0]["send_as"] = ["info@example.org", "any@example.net"]
    read = Directory.from_json(json.dumps(with_list).encode())
    assert ("info@example.org", "any@example.net") == read.mailboxes[0].send_as
    assert json.dumps(with_list, separators=(",", ":")).encode() + b"\n" == read.to_json()


@pytest.mark.parametrize(
    ("send_as", "what"),
    [
        (["x@elsewhere.example"], "lets ann@example.org send as 'x@elsewhere.example'"),
        (["@example.org"], "cannot send as '@example.org'"),
        (["a b@example.org"], "cannot send as"),
        (["X@example.org"], "cannot send as"),
        (["x@example.org"] * 2, "may send as an address twice"),
        ("x@example.org", "has no list send_as in mailboxes[0]"),
        ([7], "has something else than texts in send_as of mailboxes[0]"),
    ],
)
def test_unsound_send_as(send_as: object, what: str) -> None:
    """Postfix's table can contain only plain addresses of our own domains."""
    broken = document()
    broken["mailboxes"][0]["send_as"] = send_as
    with pytest.raises(DirectoryError) as refused:
        Directory.from_json(json.dumps(broken).encode())
    assert what in str(refused.value)


def test_the_form_of_a_renamed_mailbox() -> None:
    """A renamed mailbox makes a new version, which containers that cannot find its mail refuse."""
    renamed = document(version=2)
    renamed["mailboxes"][0]["stored_as"] = "first@example.com"
    read = Directory.from_json(json.dumps(renamed).encode())
    assert "first@example.com" == read.mailboxes[0].storage == read.first_address("ann@example.org")
    assert json.dumps(renamed, separators=(",", ":")).encode() + b"\n" == read.to_json()


@pytest.mark.parametrize(
    ("stored_as", "what"),
    [
        ("../x@example.org", "cannot be stored as"),
        ("a/b@example.org", "cannot be stored as"),
        ("", "cannot be stored as"),
        ("A@example.org", "cannot be stored as"),
        (7, "has no text stored_as"),
    ],
)
def test_unsound_places(stored_as: object, what: str) -> None:
    """A place is an address, and thus one directory below that of its domain."""
    broken = document(version=2)
    broken["mailboxes"][0]["stored_as"] = stored_as
    with pytest.raises(DirectoryError, match=what):
        Directory.from_json(json.dumps(broken).encode())


def test_two_mailboxes_never_have_one_place() -> None:
    """One user would read the other's mail."""
    broken = document(version=2)
    broken["mailboxes"].append(
        {"address": "ben@example.org", "password_hash": HASH, "stored_as": "ann@example.org"}
    )
    with pytest.raises(DirectoryError, match="two mailboxes"):
        Directory.from_json(json.dumps(broken).encode())


def test_a_quota_survives_the_way() -> None:
    """It comes back as it was; without one a mailbox has none."""
    with_quota = document()
    with_quota["mailboxes"][0]["quota_mb"] = 51200
    read = Directory.from_json(json.dumps(with_quota).encode())
    assert [51200, *[None] * (len(read.mailboxes) - 1)] == [m.quota_mb for m in read.mailboxes]
    assert read.mailboxes == Directory.from_json(read.to_json()).mailboxes


@pytest.mark.parametrize("quota", [0, -1, 1.5, True, "50", [], 2**200 * -1])
def test_unsound_quotas(quota: object) -> None:
    """Nothing but a whole number of megabytes can come into Dovecot's table."""
    broken = document()
    broken["mailboxes"][0]["quota_mb"] = quota
    with pytest.raises(DirectoryError, match="quota"):
        Directory.from_json(json.dumps(broken).encode())


def test_fields_of_a_newer_program_are_ignored() -> None:
    """An older container still reads what a newer program added within version 1."""
    newer = document(
        generation=7,
        mailboxes=[{"address": "ann@example.org", "password_hash": HASH, "quota": 7}],
        forwards=[],
    )
    assert Directory.from_json(json.dumps(document()).encode()) == Directory.from_json(
        json.dumps(newer).encode()
    )


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b" " * (16 * 1024 * 1024 + 1), "larger than"),
        (b"[]", "something else than an object"),
        (b"{}", "schema version 'None'"),
        (document(version=4), "schema version '4'; this reader knows 1 to 3"),
        (document(version=True), "schema version 'True'"),
        (document(version="1"), "schema version"),
        (document(domains=None), "no list domains"),
        (document(domains=["example.org"]), r"something else than an object at domains\[0\]"),
        (document(domains=[{"name": "Example.org"}]), "not a domain name"),
        (document(domains=[{"name": "example.org", "catch_all": 5}]), "no text catch_all"),
        (document(domains=[{"name": "example.org", "catch_all": "x"}]), "has no @"),
        (document(mailboxes=[]), "no mailbox"),
        (document(mailboxes=[{"address": "ann@example.org"}]), r"password_hash in mailboxes\[0\]"),
        (
            document(mailboxes=[{"address": "a\n@example.org", "password_hash": HASH}]),
            "cannot be a mailbox's address",
        ),
        (
            document(mailboxes=[{"address": "ann@example.org", "password_hash": HASH + ":0:0"}]),
            "ann@example.org has a password hash",
        ),
        (document(aliases=[{"address": "i@example.org", "destinations": []}]), "no destination"),
        (
            document(aliases=[{"address": "i@example.org", "destinations": "ann@example.org"}]),
            "no list destinations",
        ),
        (document(aliases=[{"address": "i@example.org", "destinations": [5]}]), "else than texts"),
        (
            document(aliases=[{"address": "i@example.org", "destinations": ["x@y.org, z@y.org"]}]),
            "more than one @",
        ),
        (
            document(aliases=[{"address": "i@example.org", "destinations": ["x@Y.org"]}]),
            "would be kept as 'x@y.org'",
        ),
    ],
)
def test_a_broken_object_is_refused(found: bytes | dict[str, Any], what: str) -> None:
    """A reader keeps the directory that it has, and can log in one line why."""
    written = found if isinstance(found, bytes) else json.dumps(found).encode()
    with pytest.raises(DirectoryError, match=what) as refusal:
        Directory.from_json(written)
    assert 1 == len(str(refusal.value).splitlines())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_directory_or_refused(found: bytes) -> None:
    """Whatever is read, nothing else than DirectoryError comes of it."""
    with pytest.raises(DirectoryError):
        Directory.from_json(found)


@given(directories(), st.data())
def test_a_damaged_object_is_a_directory_or_refused(made: Directory, data: st.DataObject) -> None:
    """One value of a sound object replaced by anything never raises otherwise."""
    damaged = json.loads(made.to_json())
    place: Any = damaged
    while isinstance(place, dict | list) and place:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            place[key] = data.draw(_JSON)
            break
        place = place[key]
    try:
        read = Directory.from_json(json.dumps(damaged).encode())
    except DirectoryError:
        return
    assert read.mailboxes


def test_memory_of_ten_thousand_mailboxes() -> None:
    """Reading a directory of 10,000 mailboxes peaks below 8 MB, beside the object's own bytes."""
    written = large_directory(10_000).to_json()
    tracemalloc.start()
    try:
        kept = Directory.from_json(written)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 10_000 == len(kept.mailboxes)
    assert peak < 8_000_000


def test_the_small_host_loads_no_library_for_it() -> None:
    """What `deliver` imports of the directory needs nothing but the standard library."""
    needless = {"idna", "yaml", "argon2", "hashlib", "pulumi"}
    assert not needless & loaded_by("postal_plexus.directory")
