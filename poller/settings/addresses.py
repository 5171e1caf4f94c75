"""The addresses in a config file and on the command line: where to listen, state, endpoints."""

from __future__ import annotations

import os
import re
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

LISTEN_DEFAULT = "127.0.0.1:9310"
STATE_DEFAULT = "sqlite:poller.db"
URL_LENGTH_MAX = 2_000

_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>\d{1,5})")
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-zA-Z0-9-]{1,63}")
_UNSAFE_IN_URL = re.compile(r"[^\x21-\x7e]")


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; port 0 is any free one.  Raises ValueError."""
    return parse_address(text, example=LISTEN_DEFAULT)


def parse_address(text: str, *, example: str) -> tuple[str, int]:
    """Host and port of HOST:PORT.  Raises ValueError."""
    found = _LISTEN.fullmatch(text)
    if found is None or int(found["port"]) > 65_535:
        raise ValueError(f"must be HOST:PORT, such as {example}")
    try:
        host = found["host"] or str(IPv6Address(found["v6"]))
    except ValueError:
        raise ValueError(f"must be HOST:PORT, such as {example}") from None
    return host, int(found["port"])


def check_exposed(listen: tuple[str, int], *, auth: bool) -> None:
    """Raises ValueError where others than this machine can reach `listen` and none says `auth`."""
    host, port = listen
    if not auth and not is_loopback(host):
        raise ValueError(
            "listening beyond this machine needs auth; add auth: {token: TOKEN} to the config, or "
            "auth: {access_keys: {ID: SECRET}}, or both, or auth: none to let everybody in; or "
            f"listen on 127.0.0.1:{port}"
        )


def parse_region(text: str) -> str:
    """A region's name; any word, since emulators have their own.  Raises ValueError."""
    if not _REGION.fullmatch(text):
        raise ValueError("must be a region, such as us-east-1")
    return text


def parse_account(text: str) -> str:
    """An account's id.  Raises ValueError."""
    if not _ACCOUNT.fullmatch(text):
        raise ValueError("must be 12 digits")
    return text


def parse_state(text: str, folder: Path) -> str:
    """`sqlite:` and an absolute path; a relative one starts at `folder`.  Raises ValueError."""
    kind, _, where = text.partition(":")
    if kind == "dynamodb":
        raise ValueError("dynamodb:TABLE is not supported yet; use sqlite:PATH")
    if kind != "sqlite" or not where or where.startswith((":", "//")) or "\0" in where:
        raise ValueError(f"must be sqlite:PATH, such as {STATE_DEFAULT}")
    path = os.path.abspath(folder / where)
    if os.path.isdir(path):
        raise ValueError("names a folder; name a file in it")
    if not os.path.isdir(os.path.dirname(path)):
        raise ValueError("its folder does not exist; make it, or name another file")
    return f"sqlite:{path}"


def parse_url(text: str, *, user_allowed: bool) -> str:
    """An http or https URL.  Raises ValueError, which never shows it: it may have a password."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.fragment or len(text) > URL_LENGTH_MAX or _UNSAFE_IN_URL.search(text):
        raise ValueError("must be a URL such as http://127.0.0.1:8080/path")
    if "@" in parts.netloc and not user_allowed:
        raise ValueError("must be a URL without a user name")
    return text


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
