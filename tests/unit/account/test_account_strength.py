"""The rules for passwords that users choose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.account import strength

ANN = "ann.other@example.org"


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "Trois petits chats!",
        "парольный чемодан",
        "東京の冬は寒くて乾いている",
        "zd5n-sr2y-qgs2-jdr8-385j",
        "x" * 7 + "yzwvu",
    ],
)
def test_long_and_uncommon_ones_are_taken(password: str) -> None:
    """Passwords in any script are accepted, without rules about kinds of characters."""
    assert strength.fault_of(password, ANN) is None


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short1!A",
        "password1234",
        "Password1234!",
        "passwortpasswort",
        "qwertyuiop123",
        "12345678901234",
        "2026-11-28 22:05",
        "aaaaaaaaaaaaaaaa",
        "abababababababab",
        "ann.other@example.org",
        "ann.other1234",
        "Example.org2026",
        "Sommer2026!!",
        "ilove you hello",
        "pass\nword and more",
        "a\u0000bcdefghijklm",
        "x" * 250 + "yzwvuts",
    ],
)
def test_short_common_and_own_ones_are_refused(password: str) -> None:
    """The reason contains no part of the password."""
    fault = strength.fault_of(password, ANN)
    assert fault is not None
    assert not password or password not in fault


@given(st.text())
def test_no_text_breaks_the_judgement(text: str) -> None:
    """Any text is accepted or has a reason."""
    assert strength.fault_of(text, ANN) is None or len(text) >= 0


def test_generated_ones_are_strong_and_differ() -> None:
    """They have 100 random bits each."""
    made = {strength.generated() for _ in range(100)}
    assert len(made) == 100
    assert all(strength.fault_of(each, ANN) is None for each in made)
