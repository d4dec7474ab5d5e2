"""Images that must not be kept: lists of sha256, md5 and PDQ hashes, as hotlines and platforms exchange them.

A match is found in the task that received the bytes, before anything of it is written. What remains is the reason and
a keyed hash (HMAC-SHA256 of the sha256, under the operator's own key). Whoever holds the key can recognise the same
image again, and nobody else learns from the ledger what it was. docs/safety.md says what to find out first.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.list_files import entries
from pipeline.vision.pdq import BITS, LEAST_QUALITY, Index

MIN_KEY_BYTES = 16
_SEPARATORS = re.compile(r"[\s,;]")


@dataclass(frozen=True)
class Blocklist:
    """Hashes in bytes; ``pdq`` is uint64 of shape (n, 4). ``digest`` names lists and key, but does not reveal them."""

    key: bytes = b""
    sha256: frozenset[bytes] = frozenset()
    md5: frozenset[bytes] = frozenset()
    pdq: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty((0, BITS // 64), np.uint64))
    pdq_bits: int = 0
    digest: str = ""

    def __bool__(self) -> bool:
        return bool(self.key)

    def has_bytes(self, data: bytes) -> bool:
        """Whether the bytes themselves are listed."""
        return (bool(self.sha256) and hashlib.sha256(data).digest() in self.sha256) or (
            bool(self.md5) and hashlib.md5(data, usedforsecurity=False).digest() in self.md5
        )

    def has_picture(self, pdq: bytes, quality: int) -> bool:
        """Whether a listed image looks like it; an image with almost no detail matches none."""
        return quality >= LEAST_QUALITY and self._by_pdq.has_near(pdq)

    @cached_property
    def _by_pdq(self) -> Index:
        """Built by the task at first use; a list is sent to the tasks without it."""
        return Index(self.pdq, self.pdq_bits)

    def trace(self, sha256: str) -> str:
        """What the ledger may keep of the image with this sha256 (hex)."""
        return "hmac-sha256 " + hmac.new(self.key, bytes.fromhex(sha256), hashlib.sha256).hexdigest()


NO_BLOCKLIST = Blocklist()


def read_blocklist(
    sha256: Sequence[str], md5: Sequence[str], pdq: Sequence[str], pdq_bits: int, key_file: str
) -> Blocklist:
    """Read what the settings name: list files, one hash in hex per line, and a file whose bytes are the key.

    InputError: a file cannot be used, or there are lists and no key.
    """
    if not (sha256 or md5 or pdq):
        return NO_BLOCKLIST
    if not key_file:
        text = "fetch.blocklist_key is empty; name a file of at least 16 random bytes that only you can read"
        raise InputError(ErrorCode.CONFIG_INVALID, text)
    key = _key(Path(key_file))
    lists = [_hashes(files, size) for files, size in ((sha256, 32), (md5, 16), (pdq, BITS // 8))]
    digest = hashlib.sha256(hmac.new(key, b"pairmill blocklist", hashlib.sha256).digest())
    for hashes in lists:
        digest.update(len(hashes).to_bytes(8, "big") + b"".join(hashes))
    digest.update(pdq_bits.to_bytes(2, "big"))
    rows = np.frombuffer(b"".join(lists[2]), np.uint64).reshape(-1, BITS // 64)
    return Blocklist(key, frozenset(lists[0]), frozenset(lists[1]), rows, pdq_bits, digest.hexdigest())


def _key(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise InputError(ErrorCode.RESOURCE_MISSING, f"fetch.blocklist_key {path}: {error.strerror}") from None
    if len(key) < MIN_KEY_BYTES:
        text = f"fetch.blocklist_key {path} has {len(key)} bytes; write at least {MIN_KEY_BYTES} random ones"
        raise InputError(ErrorCode.CONFIG_INVALID, text)
    return key


def _hashes(files: Collection[str], size: int) -> list[bytes]:
    """All hashes of ``size`` bytes in these files, sorted; what follows a hash on its line is not read."""
    found = set()
    for name in files:
        for line in entries(Path(name)):
            digits = _SEPARATORS.split(line, maxsplit=1)[0]
            try:
                hash_ = bytes.fromhex(digits)
            except ValueError:
                hash_ = b""
            if len(hash_) != size:
                text = f"list {name}: a line ({line[:8]!r}...) does not begin with {2 * size} hex digits; remove it"
                raise InputError(ErrorCode.RESOURCE_MISSING, text)
            found.add(hash_)
    return sorted(found)
