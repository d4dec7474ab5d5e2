"""Keys of rows: 128-bit BLAKE2b, written as 32 lower-case hex digits.

A key depends on what a row *is* (its URL, its text), never on where or when it was made: it has no row number,
clock, host name or path. Parts are joined with NUL, which never occurs in a URL or a clean text.
"""

from __future__ import annotations

import hashlib

DIGEST_BYTES = 16


def key_of(*parts: str) -> str:
    """32 hex digits of BLAKE2b-128 over ``parts`` joined with NUL.

    >>> key_of("a", "b") == key_of("a\\0b")
    True
    """
    return key_of_bytes("\0".join(parts).encode("utf-8", "surrogatepass"))


def key_of_bytes(*parts: bytes) -> str:
    """The same of bytes."""
    return hashlib.blake2b(b"\0".join(parts), digest_size=DIGEST_BYTES).hexdigest()
