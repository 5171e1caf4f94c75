"""Aggregates of the Kinesis Producer Library, encoded after the description of their format."""

from __future__ import annotations

import hashlib

MAGIC = b"\xf3\x89\x9a\xc2"


def varint(value: int) -> bytes:
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def of_number(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def of_bytes(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def sealed(message: bytes) -> bytes:
    return MAGIC + message + hashlib.md5(message).digest()


def aggregate(users: list[tuple[str, int | None, bytes]], extra: bytes = b"") -> bytes:
    """An aggregate of (key, explicit hash key, data), its tables without repetitions."""
    keys = list(dict.fromkeys(key for key, _, _ in users))
    explicit = list(dict.fromkeys(hash_key for _, hash_key, _ in users if hash_key is not None))
    message = b"".join(of_bytes(1, key.encode()) for key in keys)
    message += b"".join(of_bytes(2, str(hash_key).encode()) for hash_key in explicit)
    for key, hash_key, data in users:
        record = of_number(1, keys.index(key))
        if hash_key is not None:
            record += of_number(2, explicit.index(hash_key))
        message += of_bytes(3, record + of_bytes(3, data) + extra)
    return sealed(message + extra)
