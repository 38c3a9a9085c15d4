"""Secrets at rest: AES-256-GCM under REKOLLECT_SECRET_KEY.

SigV4 needs a key's secret back, so it cannot be hashed like a password. The row that a secret belongs to is bound in as
associated data: a ciphertext copied to another row does not decrypt.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_FORMAT = b"\x01"  # first byte of every ciphertext, so that a later format can be told apart


class WrongSecretKey(Exception):
    """A stored secret does not decrypt: REKOLLECT_SECRET_KEY is not the one that this database was filled with."""


class Cipher:
    """Encrypts and decrypts short texts."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def encrypt(self, text: str, *, owner: str) -> bytes:
        """Encrypt a text that belongs to a row."""
        nonce = os.urandom(_NONCE_BYTES)
        return _FORMAT + nonce + self._aead.encrypt(nonce, text.encode(), owner.encode())

    def decrypt(self, ciphertext: bytes, *, owner: str) -> str:
        """Give the text back, or raise WrongSecretKey."""
        nonce, sealed = ciphertext[1 : 1 + _NONCE_BYTES], ciphertext[1 + _NONCE_BYTES :]
        try:
            if ciphertext[:1] != _FORMAT:
                raise InvalidTag
            return self._aead.decrypt(nonce, sealed, owner.encode()).decode()
        except (InvalidTag, ValueError) as error:  # ValueError: it was cut off
            raise WrongSecretKey(WrongSecretKey.__doc__) from error
