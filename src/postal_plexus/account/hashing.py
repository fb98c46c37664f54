"""Hash a password with libsodium, as Dovecot verifies it: Argon2id with the directory's parameters.

The operator's side uses `argon2-cffi`; Dovecot's image already contains libsodium.
"""

import ctypes

MEMORY_KIB = 7 * 1024
TIME_COST = 5
"""Those of `directory.password_hash`, which says why."""

_LIBRARY = "libsodium.so.23"
_ARGON2ID13 = 2
_STR_BYTES = 128


def hashed(password: str) -> str:
    """Return the password's hash in Dovecot's format, with a new salt.

    Raises:
        OSError: the library is missing, or memory is exhausted.
    """
    sodium = ctypes.CDLL(_LIBRARY)
    sodium.crypto_pwhash_str_alg.argtypes = [
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_ulonglong,
        ctypes.c_ulonglong,
        ctypes.c_size_t,
        ctypes.c_int,
    ]
    octets = password.encode()
    made = ctypes.create_string_buffer(_STR_BYTES)
    if sodium.sodium_init() < 0 or sodium.crypto_pwhash_str_alg(
        made, octets, len(octets), TIME_COST, MEMORY_KIB * 1024, _ARGON2ID13
    ):
        raise OSError("a password cannot be hashed: no memory for it")
    return f"{{ARGON2ID}}{made.value.decode()}"
