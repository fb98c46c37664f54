"""Which password hashes a mailbox may have, and why others are refused.

Accepted are the schemes that Dovecot can verify and that are deliberately slow. New hashes are
Argon2id (from `plexus password`); the others allow users of another server to keep theirs.

An Argon2 hash specifies how much memory its verification takes, and this is Dovecot's memory, in a
container on a host with 512 MB. A hash that needs more than the container has does not merely fail:
it crashes the process, for all users, whenever a stranger tries to log in. Hence MEMORY_LIMIT_KIB.
MEMORY_KIB and TIME_COST are the one of the equivalent settings in OWASP's Password Storage Cheat
Sheet with the least memory and the most passes (7 MiB, five passes, one lane). One lane also
because libsodium, with which Dovecot verifies, has no threads.

No result contains a password or hash, because results end up in logs.
"""

import re
from dataclasses import dataclass

MEMORY_KIB = 7 * 1024
TIME_COST = 5
MEMORY_LIMIT_KIB = 32 * 1024

_BASE64 = r"[A-Za-z0-9+/]+"
_CRYPT64 = r"[A-Za-z0-9./]"
_ARGON2 = rf"\$v=19\$m=(?P<memory>\d{{1,9}}),t=\d\d?,p=\d\d?\${_BASE64}\${_BASE64}"
# The limits keep one login below seconds of the host's CPU.
SCHEMES = {
    "ARGON2ID": rf"\$argon2id{_ARGON2}",
    "ARGON2I": rf"\$argon2i{_ARGON2}",
    "BLF-CRYPT": rf"\$2[abxy]\$(?:0[4-9]|1[0-4])\${_CRYPT64}{{53}}",
    "SHA512-CRYPT": rf"\$6\$(?:rounds=\d{{4,6}}\$)?{_CRYPT64}{{1,16}}\${_CRYPT64}{{86}}",
    "SHA256-CRYPT": rf"\$5\$(?:rounds=\d{{4,6}}\$)?{_CRYPT64}{{1,16}}\${_CRYPT64}{{43}}",
}
"""Scheme, as Dovecot names it -> the form of its hashes."""

_SCHEME = re.compile(r"\{([^{}]*)\}(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class HashFault:
    """Why a password hash is refused, to complete "the password hash ...", and the remedy."""

    what: str
    remedy: str


def fault_of(text: str, address: str) -> HashFault | None:
    """Return what is wrong with `address`'s password hash, or None."""
    make_one = f"Make one with: plexus password {address}"
    parts = _SCHEME.fullmatch(text)
    if parts is None and text.startswith("$argon2id$"):
        return HashFault("does not name its scheme", "Write {ARGON2ID} before it.")
    if parts is None:
        return HashFault(
            "is not a hash; perhaps it is the password itself, in plain text", make_one
        )
    scheme, value = parts.groups()
    pattern = SCHEMES.get(scheme.upper())
    if pattern is None:
        known = ", ".join(SCHEMES)
        return HashFault(f"has a scheme that is not accepted ({known} are)", make_one)
    digest = re.fullmatch(pattern, value)
    if digest is None:
        return HashFault(
            f"is not a whole {scheme.upper()} hash of a usual cost",
            f"Copy it again, or make one with: plexus password {address}",
        )
    memory = int(digest.groupdict().get("memory") or 0)
    if memory > MEMORY_LIMIT_KIB:
        return HashFault(
            f"takes {memory // 1024} MB to verify; Dovecot has room for {MEMORY_LIMIT_KIB // 1024}",
            make_one,
        )
    return None
