"""The stack configuration: what is read, and that every mistake is told with its way out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_lists import ARGON2, config, mailbox, problems, with_alias, with_mailbox

from postal_plexus.config.lists import read_stack
from postal_plexus.config.model import ALL_KEYS
from postal_plexus.config.problems import StackError
from postal_plexus.directory import Alias, Directory, Domain, Mailbox
from postal_plexus.directory.password_hash import SCHEMES
from postal_plexus.directory.receipt_rules import receipt_rules
from stack_mistakes import HASH


def test_a_sound_configuration() -> None:
    """Domains, mailboxes and aliases come in their order; unquoted catch-alls and defaults too."""
    expected = Directory(
        (Domain("example.org"), Domain("example.net", "ann@example.org")),
        (Mailbox("ann@example.org", HASH), Mailbox("ben@example.net", HASH)),
        (Alias("info@example.org", ("ben@example.net",)),),
    )
    assert expected == read_stack(config())


@pytest.mark.parametrize("aliases", [None, []])
def test_aliases_may_be_missing(aliases: object) -> None:
    """A stack without aliases is a stack."""
    assert () == read_stack(config(aliases=aliases)).aliases


def test_writing_is_free_where_meaning_is_clear() -> None:
    """Case, script and spaces around do not matter; foreign local parts stay to the letter."""
    made = read_stack(
        {
            "domains": [
                "Example.ORG",
                {"name": "Bücher.example", "catch-all": "Ann+Rest@example.org"},
            ],
            "mailboxes": [
                mailbox("Ann@EXAMPLE.org", f" {HASH}\n"),
                mailbox("ben@bücher.example", "{argon2id}" + ARGON2),
            ],
            "aliases": [
                {
                    "address": "Info@BÜCHER.example",
                    "destinations": [
                        "ANN+Info@Example.org",
                        "Zoe@Example.COM",
                        "zoe@müller.example",
                    ],
                }
            ],
        }
    )
    expected = Directory(
        (Domain("example.org"), Domain("xn--bcher-kva.example", "ann+rest@example.org")),
        (Mailbox("ann@example.org", HASH), Mailbox("ben@xn--bcher-kva.example", HASH)),
        (
            Alias(
                "info@xn--bcher-kva.example",
                ("ann+info@example.org", "Zoe@example.com", "zoe@xn--mller-kva.example"),
            ),
        ),
    )
    assert expected == made


def test_postmaster_is_an_address_by_itself() -> None:
    """An alias may lead to a postmaster that is not configured."""
    assert read_stack(with_alias("abuse@example.org", "postmaster@example.org")).aliases


@pytest.mark.parametrize(
    ("stack", "place", "mentioned"),
    [
        (config(mailboxs=[]), "mailboxs", ("Did you mean mailboxes?",)),
        (config(colour="red"), "colour", (", ".join(ALL_KEYS),)),
        (config(aliases="info@example.org"), "aliases", ("a text, not a list", '"- address:"')),
        (
            config(aliases={"address": "info@example.org"}),
            "aliases",
            ("a mapping, not a list", '"- address:"'),
        ),
        (
            config(domains=["example.org", "example.net", "example.org"]),
            "domains: entry 3 (example.org)",
            ("entry 1 (example.org) of domains", "Keep one"),
        ),
        (
            config(domains=["example.org", "example.net", False]),
            "domains: entry 3",
            ("true or false", '"- name:"'),
        ),
        (
            config(domains=["example.org", "example.net", {"name": 1.5}]),
            "domains: entry 3",
            ("name", "a number", "Write a text"),
        ),
        (
            config(domains=["example.org", "example.net", "localhost"]),
            "domains: entry 3 (localhost)",
            ("a single word", "a domain of yours"),
        ),
        (
            config(domains=["example.org", "example.net", "example.com."]),
            "domains: entry 3 (example.com.)",
            ("dot", "a domain of yours"),
        ),
        (
            config(domains=["example.org", {"name": "example.net", "catchall": "ann@example.org"}]),
            "domains: entry 2 (example.net)",
            ("'catchall'", "Did you mean catch-all?"),
        ),
        (
            config(
                domains=["example.org", {"name": "example.net", "catch-all": "anm@example.org"}]
            ),
            "domains: entry 2 (example.net)",
            ("catch-all", "'anm@example.org'", "Did you mean ann@example.org?"),
        ),
        (
            config(
                domains=["example.org", {"name": "example.net", "catch-all": "zoe@example.com"}]
            ),
            "domains: entry 2 (example.net)",
            ("catch-all", "'zoe@example.com'", "an alias"),
        ),
        (
            config(domains=["example.org", {"name": "example.net", "catch-all": "ann"}]),
            "domains: entry 2 (example.net)",
            ("catch-all", "'ann'", "Write one address"),
        ),
        (
            config(domains=["example.org", {"name": "example.net", "catch-all": None}]),
            "domains: entry 2 (example.net)",
            ("catch-all", "Write a text"),
        ),
        (
            config(mailboxes=[*config()["mailboxes"], "cleo@example.org"]),
            "mailboxes: entry 3 (cleo@example.org)",
            ("password-hash", "plexus password cleo@example.org"),
        ),
        (with_mailbox(address=None), "mailboxes: entry 3", ("address", "Write a text")),
        (
            with_mailbox(address="Ann@example.org"),
            "mailboxes: entry 3 (Ann@example.org)",
            ("entry 1 (ann@example.org) of mailboxes", "Keep one"),
        ),
        (
            with_mailbox(address="cleo@example.nte"),
            "mailboxes: entry 3 (cleo@example.nte)",
            ("example.nte", "postal-plexus:domains", "Did you mean example.net?"),
        ),
        (
            with_mailbox(address="cleo@elsewhere.example"),
            "mailboxes: entry 3 (cleo@elsewhere.example)",
            ("elsewhere.example", "postal-plexus:domains", "Add it"),
        ),
        (
            with_mailbox(address="ann+x@example.org"),
            "mailboxes: entry 3 (ann+x@example.org)",
            ("subaddress", "Write ann@example.org"),
        ),
        (
            with_mailbox(address="a/b@example.org"),
            "mailboxes: entry 3 (a/b@example.org)",
            ("address", "Use letters"),
        ),
        (
            with_mailbox(address="jörg@example.org"),
            "mailboxes: entry 3 (jörg@example.org)",
            ("'jörg@example.org'", "not ASCII", "Write one address"),
        ),
        (
            with_mailbox(password_hash="hunter2"),
            "mailboxes: entry 3 (ben@example.org)",
            ("password-hash", "in plain text", "plexus password ben@example.org"),
        ),
        (
            with_mailbox(password_hash="{PLAIN}hunter2"),
            "mailboxes: entry 3 (ben@example.org)",
            ("password-hash", "scheme", ", ".join(SCHEMES), "plexus password ben@example.org"),
        ),
        (
            with_mailbox(password_hash=ARGON2),
            "mailboxes: entry 3 (ben@example.org)",
            ("password-hash", "scheme", "{ARGON2ID}"),
        ),
        (
            with_mailbox(password_hash=HASH[:-50]),
            "mailboxes: entry 3 (ben@example.org)",
            ("password-hash", "ARGON2ID", "plexus password ben@example.org"),
        ),
        (
            with_mailbox(password_hash=HASH.replace("m=19456", "m=65536")),
            "mailboxes: entry 3 (ben@example.org)",
            ("password-hash", "64 MB", "32", "plexus password ben@example.org"),
        ),
        (
            with_mailbox(password_hash=20261124),
            "mailboxes: entry 3 (ben@example.org)",
            ("password-hash", "a number", "plexus password ben@example.org"),
        ),
        (
            with_alias("ann@example.org", "ben@example.net"),
            "aliases: entry 2 (ann@example.org)",
            ("entry 1 (ann@example.org) of mailboxes", "Keep one"),
        ),
        (
            with_alias("sales@example.org"),
            "aliases: entry 2 (sales@example.org)",
            ("destinations", "destinations: [ann@example.org, "),
        ),
        (
            config(aliases=[{"address": "i@example.org", "destinations": "ann@example.org"}]),
            "aliases: entry 1 (i@example.org)",
            ("destinations", "a text, not a list", "destinations: [ann@example.org, "),
        ),
        (
            with_alias("sales@example.org", "ann@example.org", 5),
            "aliases: entry 2 (sales@example.org)",
            ("destinations", "a number", "destinations: [ann@example.org, "),
        ),
        (
            with_alias("sales@example.org", "anne@example.org"),
            "aliases: entry 2 (sales@example.org)",
            ("destination", "'anne@example.org'", "Did you mean ann@example.org?"),
        ),
        (
            with_alias("sales@example.org", "qqqqqqqqq@example.net"),
            "aliases: entry 2 (sales@example.org)",
            ("destination", "'qqqqqqqqq@example.net'", "Add it to postal-plexus:mailboxes"),
        ),
        (
            with_alias("sales@example.org", "ann@example.org", "Ann@Example.org"),
            "aliases: entry 2 (sales@example.org)",
            ("'Ann@Example.org'", "twice", "Remove one"),
        ),
        (
            with_alias("sales@example.org", "ann@example.org, ben@example.net"),
            "aliases: entry 2 (sales@example.org)",
            ("destination", "'ann@example.org, ben@example.net'", "Write one address"),
        ),
        (
            with_alias("sales@example.org", "sales+x@example.org", "ann@example.org"),
            "aliases: entry 2 (sales@example.org)",
            ("sales@example.org -> sales@example.org", "Remove one"),
        ),
        (
            with_alias("many@example.org", *(f"zoe{number}@example.com" for number in range(1001))),
            "aliases: entry 2 (many@example.org)",
            ("1001", "1000", "mailing list software"),
        ),
    ],
)
def test_one_mistake(stack: dict[str, Any], place: str, mentioned: tuple[str, ...]) -> None:
    """A mistake is reported once, with key, entry, subject and kind of remedy."""
    (problem,) = problems(stack)
    assert f"postal-plexus:{place}" == ": ".join(filter(None, (problem.key, problem.entry)))
    assert [] == [each for each in mentioned if each not in f"{problem.what}. {problem.remedy}"]


def test_nothing_at_all() -> None:
    """What must be there is named where it is missing, empty or null."""
    for nothing in (None, [], {}, ""):
        stack = config(domains=nothing, mailboxes=nothing, aliases=None)
        assert ["postal-plexus:domains", "postal-plexus:mailboxes"] == [
            problem.key for problem in problems(stack)
        ]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    """One reading finds everything, and one mistake does not make others up."""
    stack = {
        "mailbox": [],
        "domains": ["example.org", "exam ple.com"],
        "mailboxes": [mailbox("ann@example.org", "hunter2"), mailbox("a b@example.org", "x"), 7],
        "aliases": [{"address": "info@example.org", "destinations": ["ann@example.org", "ben"]}],
    }
    assert [
        ("postal-plexus:mailbox", ""),
        ("postal-plexus:domains", "entry 2 (exam ple.com)"),
        ("postal-plexus:mailboxes", "entry 1 (ann@example.org)"),
        ("postal-plexus:mailboxes", "entry 2 (a b@example.org)"),
        ("postal-plexus:mailboxes", "entry 2 (a b@example.org)"),
        ("postal-plexus:mailboxes", "entry 3"),
        ("postal-plexus:aliases", "entry 1 (info@example.org)"),
    ] == [(problem.key, problem.entry) for problem in problems(stack)]


def test_each_circle_of_aliases_is_told() -> None:
    """Circles are found however long, each once, also beside one another."""
    length = 3000
    chain = [
        {"address": f"a{n}@example.org", "destinations": [f"a{(n + 1) % length}@example.org"]}
        for n in range(length)
    ]
    pair = [
        {"address": "x@example.org", "destinations": ["y@example.org", "ann@example.org"]},
        {"address": "y@example.org", "destinations": ["x@example.org"]},
    ]
    found = problems(config(aliases=[*chain, *pair]))
    assert ["entry 1 (a0@example.org)", f"entry {length + 1} (x@example.org)"] == [
        problem.entry for problem in found
    ]
    assert "x@example.org -> y@example.org -> x@example.org" in found[1].what


def test_an_alias_that_leads_to_nobody() -> None:
    """A circle through a catch-all is one that only shows when everything is resolved."""
    stack = config(
        domains=["example.org", {"name": "example.net", "catch-all": "info@example.net"}],
        aliases=[{"address": "info@example.net", "destinations": ["postmaster@example.net"]}],
    )
    found = problems(stack)
    expected = ["entry 2 (example.net)", "entry 1 (info@example.net)"]
    assert expected == [problem.entry for problem in found]
    assert ["catch-all" in problem.what for problem in found] == [True, False]


@pytest.mark.parametrize("field", ["password", "password-hash", "passwd"])
@pytest.mark.parametrize(
    "secret", ["hunter2", "hunter2\ud800", "{PLAIN}hunter2", "{CRYPT}hunter2", ["hunter2"]]
)
def test_no_message_holds_a_password(field: str, secret: object) -> None:
    """Messages end in logs and on screens; what may be a password is never in them."""
    stack = config(mailboxes=[{"address": "ann@example.org", field: secret}], aliases=None)
    assert "hunter2" not in "".join(map(str, problems(stack)))


_TEXTS = st.sampled_from(
    ["example.org", "ann@example.org", "b@example.org", "info@example.org", "@", "", HASH, "ü@ü.de"]
) | st.text(max_size=20)
_YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | _TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "catch-all", "address", "password-hash", "destinations", 5]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(config(), _YAML) | {"else": _YAML}))
def test_anything_is_a_directory_or_problems(stack: dict[str, Any]) -> None:
    """Whatever YAML gives, reading ends in a directory or in problems on one line each."""
    told: list[str] = []
    try:
        made = read_stack(stack)
    except StackError as error:
        told = [str(problem) for problem in error.problems]
    else:
        assert made.mailboxes
        return
    assert told
    assert all(len(line.splitlines()) == 1 for line in told)


_NAMES = st.sampled_from(["ann", "ben", "info", "sales", "postmaster"])
_ADDRESSES = st.builds("{}@{}".format, _NAMES, st.sampled_from(["example.org", "example.net"]))


@given(
    st.lists(_ADDRESSES, min_size=1, max_size=5),
    st.lists(st.tuples(_ADDRESSES, st.lists(_ADDRESSES, min_size=1, max_size=3)), max_size=5),
    st.none() | _ADDRESSES,
)
def test_a_directory_that_was_read_leaves_nobody_out(
    mailboxes: list[str], aliases: list[tuple[str, list[str]]], catch_all: str | None
) -> None:
    """Every configured address resolves to somebody, and to exactly its destinations' people."""
    domain = {"name": "example.net"} | ({} if catch_all is None else {"catch-all": catch_all})
    try:
        made = read_stack(
            {
                "domains": ["example.org", domain],
                "mailboxes": [mailbox(address) for address in mailboxes],
                "aliases": [{"address": name, "destinations": to} for name, to in aliases],
            }
        )
    except StackError:
        return
    assert all(made.resolve(address).known for address in made.hosted_addresses())
    assert receipt_rules(made)
    for alias, destinations in aliases:
        expected = {who for to in destinations for who in made.resolve(to).mailboxes}
        assert expected == set(made.resolve(alias).mailboxes)
