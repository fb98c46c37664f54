"""Password hashes: those that Dovecot verifies within its memory are accepted."""

import pytest
from made_directories import HASH

from postal_plexus.directory.password_hash import fault_of

_BCRYPT = "{BLF-CRYPT}$2y$12$" + "x" * 53
_SHA512 = "{SHA512-CRYPT}$6$rounds=100000$saltsalt$" + "x" * 86


@pytest.mark.parametrize(
    "text",
    [
        HASH,
        HASH.replace("ARGON2ID", "argon2id"),
        HASH.replace("ARGON2ID", "ARGON2I").replace("argon2id", "argon2i"),
        HASH.replace("m=19456", "m=32768"),
        _BCRYPT,
        _SHA512,
        "{SHA512-CRYPT}$6$saltsalt$" + "x" * 86,
        "{SHA256-CRYPT}$5$saltsalt$" + "x" * 43,
    ],
)
def test_accepted(text: str) -> None:
    """Schemes that are slow on purpose, in their whole form."""
    assert fault_of(text, "ann@example.org") is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("hunter2", "in plain text"),
        ("{hunter2", "in plain text"),
        ("{PLAIN}hunter2", "scheme that is not accepted"),
        ("{SHA1}x", "scheme that is not accepted"),
        ("{}x", "scheme that is not accepted"),
        ("{ARGON2ID}", "not a whole ARGON2ID hash"),
        (HASH + ":0:0::/root", "not a whole ARGON2ID hash"),
        (HASH + "\n", "not a whole ARGON2ID hash"),
        (_BCRYPT[:-1], "not a whole BLF-CRYPT hash"),
        (_SHA512 + "x", "not a whole SHA512-CRYPT hash"),
        (HASH.replace("t=2", "t=100"), "of a usual cost"),
        (_BCRYPT.replace("$12$", "$15$"), "of a usual cost"),
        (_SHA512.replace("100000", "1000000"), "of a usual cost"),
        (HASH.replace("m=19456", "m=32769"), "takes 32 MB to verify"),
        (HASH.replace("m=19456", "m=999999999"), "takes 976562 MB to verify"),
    ],
)
def test_refused(text: str, what: str) -> None:
    """Everything else, with the reason and never with the text."""
    fault = fault_of(text, "ann@example.org")
    assert fault is not None
    assert what in fault.what
    assert "hunter2" not in fault.what + fault.remedy
