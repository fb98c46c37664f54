"""One-time codes: the RFCs' test vectors, and each code is valid once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.account import totp

SECRET = b"12345678901234567890"
SECRETS = st.binary(min_size=totp.SECRET_OCTETS, max_size=totp.SECRET_OCTETS)
MOMENTS = st.integers(min_value=0, max_value=2**40)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    """Appendix B, the rows for SHA-1; six digits are the last six of eight."""
    step = seconds // totp.STEP_SECONDS
    assert code == totp.code_at(SECRET, step, digits=8)
    assert code[2:] == totp.code_at(SECRET, step)


@pytest.mark.parametrize(
    ("counter", "code"),
    enumerate(
        [
            "755224",
            "287082",
            "359152",
            "969429",
            "338314",
            "254676",
            "287922",
            "162583",
            "399871",
            "520489",
        ]
    ),
)
def test_codes_are_those_of_rfc_4226(counter: int, code: str) -> None:
    """Appendix D."""
    assert code == totp.code_at(SECRET, counter)


@given(secret=SECRETS, now=MOMENTS, late=st.integers(min_value=-5, max_value=5))
def test_a_code_counts_one_step_early_or_late(secret: bytes, now: int, late: int) -> None:
    """Clocks may differ by one step, not more."""
    step = now // totp.STEP_SECONDS + late
    if step < 1:
        return
    code = totp.code_at(secret, step)
    near = {totp.code_at(secret, max(1, step - late + each)) for each in (-1, 0, 1)}
    assert (totp.step_of(secret, code, now, 0) is not None) == (code in near)


@given(secret=SECRETS, now=st.integers(min_value=100, max_value=2**40))
def test_a_code_counts_once(secret: bytes, now: int) -> None:
    """After a code was used, it and older ones are refused."""
    code = totp.code_at(secret, now // totp.STEP_SECONDS)
    step = totp.step_of(secret, f" {code[:3]} {code[3:]} ", now, 0)
    assert step is not None
    assert totp.step_of(secret, code, now, step) is None


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "12345\u00b2", "-12345", "+12345", "0x1234"])  # fmt: skip
def test_what_is_no_code_is_none(typed: str) -> None:
    """Other lengths, letters, and digits of other scripts are refused."""
    assert totp.step_of(SECRET, typed, 59, 0) is None


@given(SECRETS)
def test_a_secret_is_read_as_it_was_written(secret: bytes) -> None:
    """Secrets are Base32 without padding, as apps expect."""
    text = totp.as_text(secret)
    assert secret == totp.from_text(text)
    assert f"secret={text}&" in totp.uri(secret, "a&b@example.org", "Mail example.org")
    assert "a%26b%40example.org" in totp.uri(secret, "a&b@example.org", "Mail")


@given(st.text())
def test_no_text_breaks_the_reader_of_secrets(text: str) -> None:
    """Any text is a secret of the right length, or None."""
    found = totp.from_text(text)
    assert found is None or len(found) == totp.SECRET_OCTETS


@given(st.binary(min_size=10, max_size=10))
def test_a_recovery_code_is_known_however_it_is_typed(octets: bytes) -> None:
    """Case, blanks and hyphens do not matter."""
    code = totp.recovery_code(octets)
    assert len(code) == 19
    for typed in (code.upper(), code.replace("-", ""), f" {code.replace('-', ' ')} "):
        assert totp.recovery_hash(code) == totp.recovery_hash(typed)
