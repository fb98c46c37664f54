"""Directories and recipients as hypothesis makes them: small, crowded, and full of odd cases.

A few names in a few domains, so that aliases meet, chains and loops form, and catch-alls compete
with what they might swallow.
"""

from hypothesis import strategies as st

from postal_plexus.directory import Alias, Directory, Domain, Host, Mailbox

HASH = (
    "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$c2l4dGVlbiBvY3RldHMh"
    "$aGFsZiBhIGRvemVuIG9jdGV0cywgYW5kIHR3ZW50eSA"
)
DOMAINS = ("example.org", "example.net", "xn--bcher-kva.example", "sub.example.org")
LOCAL_PARTS = ("ann", "ben", "o'brien", "info", "sales", "postmaster", "a.b", "a-b", "{x}$y")
OUTSIDE = ("Zoe.Q@example.com", "zoe+list@example.com", '"a b"@example.com')
TAGS = ("+list", "+a.b", "+x+y", "+")

_local_parts = st.sampled_from(LOCAL_PARTS)


def _addresses(domains: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda local, domain: f"{local}@{domain}", _local_parts, st.sampled_from(domains)
    )


def _tagged(addresses: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    tags = st.sampled_from(("", "", "", *TAGS))
    return st.builds(lambda address, tag: address.replace("@", f"{tag}@", 1), addresses, tags)


@st.composite
def directories(draw: st.DrawFn) -> Directory:
    """Any directory that is well formed, with loops and destinations that lead nowhere."""
    names = draw(st.lists(st.sampled_from(DOMAINS), min_size=1, max_size=3, unique=True))
    addresses = _addresses(tuple(names))
    catch_alls = st.none() | _tagged(addresses)
    hosted = draw(st.lists(addresses, min_size=1, max_size=8, unique=True))
    mailboxes = hosted[: draw(st.integers(1, len(hosted)))]
    number = draw(st.sampled_from([1, 1, 2, 3]))
    homes = st.integers(1, number)
    destinations = st.lists(_tagged(addresses) | st.sampled_from(OUTSIDE), min_size=1, max_size=4)
    return Directory(
        tuple(Domain(name, draw(catch_alls), draw(homes)) for name in names),
        tuple(
            Mailbox(
                address,
                HASH,
                draw(st.sampled_from([(), (("phone", HASH),)])),
                tuple(draw(st.lists(addresses, max_size=2, unique=True))),
                None,
                draw(st.sampled_from([None, None, f"{place}@first.example"])),
                draw(homes),
            )
            for place, address in enumerate(mailboxes)
        ),
        tuple(Alias(address, tuple(draw(destinations))) for address in hosted[len(mailboxes) :]),
        tuple(Host(f"mail-{each}.example.org", f"10.0.0.{each}") for each in range(number))
        if number > 1
        else (),
    )


def recipients() -> st.SearchStrategy[str]:
    """Envelope recipients, mostly ones that some directory of the above knows."""
    known = _tagged(_addresses(DOMAINS))
    return st.one_of(
        known,
        known,
        known.map(str.title),
        st.sampled_from(("nobody@example.net", "+tag@example.net", '"ann"@example.org')),
        st.sampled_from(OUTSIDE),
    )


def large_directory(mailboxes: int) -> Directory:
    """Return one domain with so many mailboxes."""
    return Directory(
        (Domain("example.org"),),
        tuple(Mailbox(f"user{number}@example.org", HASH) for number in range(mailboxes)),
    )
