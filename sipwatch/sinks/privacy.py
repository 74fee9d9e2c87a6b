"""Telephone numbers in what is written: as they are, masked, or as keyed hashes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sipwatch.config import Privacy

#: Characters at the end of a number that a mask leaves; short extensions keep one.
_KEPT = 2
_SHORT = 5
_HASH_BYTES = 6

#: What reads like a number of the public network; times, durations and packet numbers do not.
_NUMBER = re.compile(r"(?<![\w.])(?<!\d:)(?<!packet )\+?[0-9]{7,}(?![\w:]|\.\d)")
#: What follows a number that measures or counts something.
_MEASURED = r"(?!\w|\.\d| m?s\b| of\b)"
#: Nobody's number.
_PUBLIC = frozenset(("", "anonymous", "unknown", "unavailable", "restricted", "asterisk"))


class Numbers:
    """Applies one privacy setting to user names, URIs and free text."""

    def __init__(self, privacy: Privacy | None = None) -> None:
        self.full = privacy is None or privacy.numbers == "full"
        self._masks = privacy is not None and privacy.numbers == "mask"
        self._key = b"" if privacy is None or self.full else _key_of(privacy.key)

    def user(self, user: str) -> str:
        """A user part: a number or the name of an account."""
        if self.full or user.lower() in _PUBLIC:
            return user
        if self._masks:
            kept = _KEPT if len(user) > _SHORT else 1
            return "*" * (len(user) - kept) + user[-kept:]
        from hashlib import blake2b

        digest = blake2b(_comparable(user), key=self._key, digest_size=_HASH_BYTES)
        return "h" + digest.hexdigest()

    def address(self, address: str) -> str:
        """`user@host`, or a number alone."""
        if self.full:
            return address
        user, at, host = address.rpartition("@")
        if at:
            return f"{self.user(user)}@{host}"
        return self.user(address) if _NUMBER.fullmatch(address) else address

    def text(self, text: str, users: Iterable[str] = ()) -> str:
        """Free text: the given users wherever they stand as words, and whatever is a number."""
        if self.full:
            return text
        for user in sorted({user for user in users if user}, key=len, reverse=True):
            if user.lower() not in _PUBLIC:
                word = re.compile(rf"(?<![\w.])(?<!\d:){re.escape(user)}{_MEASURED}")
                text = word.sub(lambda match: self.user(match[0]), text)
        return _NUMBER.sub(lambda match: self.user(match[0]), text)


def _key_of(secret: str) -> bytes:
    from hashlib import blake2b
    from secrets import token_bytes

    # The numbers of a country are few: without a secret key a hash could be looked up.
    return blake2b(secret.encode() or token_bytes(32), digest_size=32).digest()


def _comparable(user: str) -> bytes:
    """The same for both ways to write an international number."""
    return (user[2:] if user.startswith("00") else user.removeprefix("+")).encode()
