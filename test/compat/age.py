"""Opens small binary age files (age-encryption.org/v1) with a passphrase or an X25519 identity."""

import base64
import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(secret, salt, info):
    return mac(mac(salt or bytes(32), secret), info + b"\1")


def unbase64(text):
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)


class Passphrase:
    kind, stanza = "passphrase", b"scrypt"

    def __init__(self, phrase):
        self.phrase = phrase

    def wrap_key(self, salt, work):
        if int(work) > 20:
            raise ValueError("the file asks for more work than reasonable")
        salt = b"age-encryption.org/v1/scrypt" + unbase64(salt)
        return hashlib.scrypt(self.phrase, salt=salt, n=1 << int(work), r=8, p=1, maxmem=2_000_000_000, dklen=32)

    def open(self, data):
        return open_file(data, self)


class Identity:
    kind, stanza = "recipient", b"X25519"

    def __init__(self, text):
        line = next(line.lower() for line in text.split() if line.upper().startswith("AGE-SECRET-KEY-1"))
        values = ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(c) for c in line.removeprefix("age-secret-key-1")]
        bits = "".join(f"{v:05b}" for v in values[:-6])  # the last six are a checksum
        self.key = X25519PrivateKey.from_private_bytes(bytes(int(bits[i:i + 8], 2) for i in range(0, 256, 8)))

    def wrap_key(self, share):
        share, mine = unbase64(share), self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return hkdf(self.key.exchange(X25519PublicKey.from_public_bytes(share)), share + mine, b"age-encryption.org/v1/X25519")

    def open(self, data):
        return open_file(data, self)


def open_file(data, secret):
    """The content, or None if the secret does not open the file."""
    end = data.index(b"\n--- ") + 4
    header, (tag, payload) = data[:end], data[end + 1:].split(b"\n", 1)
    lines, key = header.split(b"\n"), None
    if lines[0] != b"age-encryption.org/v1":
        raise ValueError("not an age file")
    i = 1
    while key is None and lines[i].startswith(b"-> "):
        kind, *arguments = lines[i].split(b" ")[1:]
        body, i = b"", i + 1
        while not lines[i].startswith(b"-"):
            body, i = body + lines[i], i + 1
        if kind == secret.stanza:
            try:
                key = ChaCha20Poly1305(secret.wrap_key(*arguments)).decrypt(bytes(12), unbase64(body), b"")
            except InvalidTag:
                pass
    if key is None:
        return None
    sealed = payload[16:]
    if mac(hkdf(key, b"", b"header"), header) != unbase64(tag) or len(sealed) > 65536 + 16:  # one piece only
        raise ValueError("the age file is damaged")
    return ChaCha20Poly1305(hkdf(key, payload[:16], b"payload")).decrypt(bytes(11) + b"\1", sealed, b"")
