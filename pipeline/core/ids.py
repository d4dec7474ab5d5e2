"""Keys of rows: 128-bit BLAKE2b, written as 32 lower-case hex digits.

A key depends on what a row *is* (its URL, its text), never on where or when it was made: it has no row number,
clock, host name or path. Parts are joined with NUL, which never occurs in a URL or a clean text.
"""

from __future__ import annotations

import hashlib

DIGEST_BYTES = 16


def key_of(*parts: str | bytes) -> str:
    """32 hex digits of BLAKE2b-128 over ``parts`` joined with NUL.

    >>> key_of("a", "b") == key_of("a\\0b")
    True
    """
    joined = b"\0".join(part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass") for part in parts)
    return hashlib.blake2b(joined, digest_size=DIGEST_BYTES).hexdigest()
