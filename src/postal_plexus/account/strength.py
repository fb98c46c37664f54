"""Check which passwords a user may choose. Pure.

According to NIST SP 800-63B section 5.1.1.2: long, not one of the common ones, not the user's own
name; no rules about kinds of characters. The bounds are those of `plexus password`.
"""

import secrets
import unicodedata

SHORTEST = 12
"""Characters. A mailbox's password is guessed at from the whole internet."""

LONGEST = 256
"""Characters; above that, clients differ in what they send."""

_FEWEST_DIFFERENT = 5
# Without characters that are easily confused on paper or on the telephone: 5 bits each.
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
# Common words in published lists of passwords: a password composed only of these, digits and marks
# is guessed first.
_COMMON = (  # noqa: SIM905
    "password passwort passw0rd motdepasse contrasena wachtwoord kennwort parola senha qwertzuiop"
    " qwertyuiop qwerty qwertz azerty asdfghjkl asdfgh yxcvbnm zxcvbnm zxcvbn qazwsx 1qaz2wsx"
    " iloveyou ichliebedich jetaime letmein welcome willkommen hello hallo admin administrator"
    " login secret geheim changeme test guest user root master access dragon monkey football"
    " baseball superman batman princess sunshine shadow michael charlie jordan summer winter spring"
    " autumn sommer herbst mail email internet computer abcdefghijklmnopqrstuvwxyz abcdef abc"
    " january february march april june july august september october november december"
).split()


def generated() -> str:
    """Generate a password of 100 random bits, in groups that can be read out."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(5))
    return "-".join(groups)


def fault_of(password: str, address: str) -> str | None:
    """Return what is wrong with a password, to complete "the password ..."; None if nothing is."""
    if len(password) < SHORTEST:
        return f"has {len(password)} characters, and {SHORTEST} are the fewest"
    if len(password) > LONGEST:
        return f"has {len(password)} characters, and {LONGEST} are the most"
    if not password.isprintable():
        return "has a character that cannot be typed"
    plain = unicodedata.normalize("NFKC", password).casefold()
    if len(set(plain)) < _FEWEST_DIFFERENT:
        return "repeats very few characters"
    name, _, domain = address.casefold().partition("@")
    own = [
        _without_marks(part)
        for part in (address.casefold(), name, domain, domain.partition(".")[0])
    ]
    if _is_common(_without_marks(plain), [part for part in own if len(part) > 2]):
        return "is made of your address, of digits, or of words that are guessed first"
    return None


def _is_common(text: str, own: list[str]) -> bool:
    """Return whether a text consists almost only of common words and the user's own."""
    for word in (*own, *sorted(_COMMON, key=len, reverse=True)):
        text = text.replace(word, "")
    return len(_only_letters(text)) < 4


def _without_marks(text: str) -> str:
    return "".join(each for each in text if each.isalnum())


def _only_letters(text: str) -> str:
    return "".join(each for each in text if each.isalpha())
