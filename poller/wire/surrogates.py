r"""Halves of characters in JSON: \ud83d alone, which JSON allows and JavaScript writes."""

from __future__ import annotations


def without_surrogates(text: bytes) -> bytes:
    r"""JSON with other escapes for \uD800 to \uDFFF, which msgspec takes in pairs alone.

    Every byte stays where it is, so what it finds wrong is wrong there.
    """
    lone = text.replace(rb"\\", b"xx")  # what is left begins an escape
    return lone.replace(rb"\ud", rb"\u0").replace(rb"\uD", rb"\u0")
