"""Messages that differ as people's do: by number, always the same. Pure."""

from __future__ import annotations

import random
from itertools import accumulate

WORDS = 20_000  # of the language that they are written in
_SYLLABLES = [a + b for a in "bdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "is")]


def _word(number: int) -> str:
    letters = ""
    while True:
        letters += _SYLLABLES[number % len(_SYLLABLES)]
        number //= len(_SYLLABLES)
        if not number:
            return letters


_LANGUAGE = [_word(number) for number in range(WORDS)]
# Zipf's law: the n-th word of a language is written 1/n times as often as the first.
_WEIGHTS = list(accumulate(1 / (rank + 1) for rank in range(WORDS)))


def word(rank: int) -> str:
    """Return the word of this rank; 0 is the most frequent."""
    return _LANGUAGE[rank]


def mail(number: int, size: int = 4096) -> bytes:
    """Return the message of this number, of about `size` bytes."""
    chance = random.Random(number)
    text: list[str] = []
    for found in chance.choices(_LANGUAGE, cum_weights=_WEIGHTS, k=size // 6):
        text.append(found)
        if not len(text) % 11:
            text.append("\r\n")
    day, minute = number % 28 + 1, number // 28 % 1440
    sender = f"person{chance.randrange(200)}@sender.example"
    head = (
        f"From: Person <{sender}>\r\nTo: A user <user@example.org>\r\n"
        f"Subject: {' '.join(chance.choices(_LANGUAGE, cum_weights=_WEIGHTS, k=5))} {number}\r\n"
        f"Date: {day:02d} Oct 2026 {minute // 60:02d}:{minute % 60:02d}:00 +0000\r\n"
        f"Message-ID: <{number}@sender.example>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
    )
    return (head + " ".join(text)[: size - len(head) - 2] + "\r\n").encode()


def japanese_word(rank: int) -> str:
    """Return the word of this rank, two characters of 1,200; 0 is the most frequent."""
    return chr(0x4E00 + 7 * (rank % 1200)) + chr(0x4E00 + 7 * (rank * 37 // 1200 * 31 % 1200))


_JAPANESE = [japanese_word(number) for number in range(WORDS)]


def japanese(number: int, size: int = 4096) -> bytes:
    """Return this message in a language without spaces, of about `size` bytes."""
    chance = random.Random(number)
    words = chance.choices(_JAPANESE, cum_weights=_WEIGHTS, k=size // 14)
    text = "".join(
        found + (chance.choice("のにはをがで") if (place + 1) % 12 else "。\r\n")
        for place, found in enumerate(words)
    )
    return (
        f"From: Person <person{chance.randrange(200)}@sender.example>\r\n"
        f"To: A user <user@example.org>\r\nSubject: {number}\r\n"
        f"Message-ID: <{number}@sender.example>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n"
    ).encode()
