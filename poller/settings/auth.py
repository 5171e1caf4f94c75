"""The key `auth`: who may use what is served on `listen`.

What is wrong with it is told without a secret, also where one stands in the place of a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from poller.wire.problems import Problem

from .file import ConfigFile
from .nodes import Block, Node, Scalar
from .readers import block, key, read_entry, text
from .values import AuthConfig

NONE = "none"

ACCESS_KEYS_MAX = 100
SECRET_MAX = 1_024

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_VISIBLE = re.compile(r"[\x21-\x7e]+")


def _secret(given: str) -> str:
    if not given:
        raise ValueError("is empty, and whoever sends nothing would know it")
    if not _VISIBLE.fullmatch(given) or len(given) > SECRET_MAX:
        raise ValueError(
            f"must be up to {SECRET_MAX} visible characters of ASCII, without spaces and line ends"
        )
    return given


def _access_keys(node: Node) -> Mapping[str, str]:
    if not isinstance(node, Block) or not 0 < len(node.entries) <= ACCESS_KEYS_MAX:
        raise ValueError(f"must be a block of 1 to {ACCESS_KEYS_MAX} keys; each is ID: SECRET")
    if not all(map(_KEY_ID.fullmatch, node.entries)):
        # It is not shown: where the two were confused, it is the secret.
        raise ValueError(
            "has a name that is no access key id, which is up to 128 letters, digits, _ and -; "
            "each is ID: SECRET"
        )
    keys: Mapping[str, str] = block(str, text(_secret))(node)
    return keys


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AuthEntry:
    access_keys: Mapping[str, str] | None = key(_access_keys)
    token: str | None = key(text(_secret))


def read_auth(file: ConfigFile, node: Node | None) -> AuthConfig | None:
    """What `auth` says; None where it says nothing, or something wrong, which is noted."""
    match node:
        case None:
            return None
        case Scalar(text=said) if said == NONE:
            return AuthConfig(access_keys=MappingProxyType({}), token=None)
        case Block() if node.entries:
            found = read_entry(AuthEntry, node)
        case _:
            remedy = "none would let everybody in"
            found = [
                Problem((), "must be none, or a block with access_keys, token or both", remedy)
            ]
    match found:
        case AuthEntry(access_keys=keys, token=token):
            return AuthConfig(access_keys=MappingProxyType(keys or {}), token=token)
        case problems:
            file.note(*(problem.below("auth") for problem in problems))
            return None
