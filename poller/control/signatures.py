"""Whether a request was signed with a secret key: Signature Version 4, seen from the server.

Only the form with an Authorization header; a presigned URL would let whoever sees it do the same
again for as long as it says.  The body's hash is always computed here, whatever the request says
that it is.  Any region will do: clients differ in where they believe this to be, and a key has the
same rights in all of them.
"""

from __future__ import annotations

import hmac
import re
from calendar import timegm
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import gmtime, strftime, strptime
from urllib.parse import quote, unquote_to_bytes

from poller.aws.signing import TERMINATOR, canonical_path, signature, signing_key
from poller.core.model import Instant, Seconds

SERVICE = "lambda"
SKEW_MAX: Seconds = 300.0  # between the clock of a client and ours

INCOMPLETE = "IncompleteSignatureException"
INVALID = "InvalidSignatureException"
UNKNOWN_KEY = "UnrecognizedClientException"

Headers = Mapping[str, Sequence[str]]
"""The values of each header, by its name in lower case."""

_STAMP_FORMAT = "%Y%m%dT%H%M%SZ"
_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PARAMETERS = ("Credential", "Signature", "SignedHeaders")


class NotSigned(Exception):
    """A request that is not signed as it should be; `code` and, mostly, `message` are AWS's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Signature:
    """What an Authorization header says, in ASCII: `given` by the key `key_id`, over `names`."""

    key_id: str
    region: str
    stamp: str
    names: tuple[str, ...]
    given: str

    @classmethod
    def read(cls, parameters: str, headers: Headers, now: Instant) -> Signature:
        """`parameters`: what follows the algorithm.  Raises NotSigned."""
        found = _parameters(parameters)
        parts = found["Credential"].rsplit("/", 4)
        if len(parts) != 5:
            raise NotSigned(
                INCOMPLETE,
                "Credential must have exactly 5 slash-delimited elements, e.g. "
                "keyid/date/region/service/term",
            )
        key_id, day, region, service, terminator = parts
        names = tuple(found["SignedHeaders"].split(";"))
        at = _signed_at(headers)
        stamp = _stamp(at)
        _check_scope(day, service, terminator, stamp)
        _check_headers(names, headers)
        _check_time(at, now)
        return cls(key_id, region, stamp, names, found["Signature"])

    def check(
        self, secret: str | None, *, method: str, target: str, headers: Headers, digest: str
    ) -> None:
        """Raises NotSigned unless `secret` signed this; None: nobody has such a key.

        `target`: path and query as they are on the wire; `digest`: the SHA-256 of the body.
        """
        if secret is None:
            raise NotSigned(UNKNOWN_KEY, "The security token included in the request is invalid.")
        path, _, query = target.partition("?")
        lines = (
            method,
            canonical_path(path),
            _canonical_query(query),
            *(f"{name}:{_canonical_value(headers.get(name, ()))}" for name in self.names),
            "",
            ";".join(self.names),
            digest,
        )
        day = self.stamp[:8]
        expected = signature(
            signing_key(secret, day=day, region=self.region, service=SERVICE),
            stamp=self.stamp,
            scope=f"{day}/{self.region}/{SERVICE}/{TERMINATOR}",
            canonical_request="\n".join(lines).encode(errors="surrogateescape"),
        )
        if not hmac.compare_digest(expected, self.given):
            raise NotSigned(
                INVALID,
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method. Consult the service "
                "documentation for details.",
            )


def _parameters(text: str) -> dict[str, str]:
    """`Credential=..., SignedHeaders=..., Signature=...` taken apart."""
    if not text.isascii():
        raise NotSigned(INCOMPLETE, "Authorization header must be ASCII.")
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise NotSigned(
                INCOMPLETE,
                "Authorization header has a part that is not a valid key=value pair (missing "
                "equal-sign).",
            )
        found[name] = value
    if missing := [name for name in _PARAMETERS if not found.get(name)]:
        requires = (f"Authorization header requires '{name}' parameter." for name in missing)
        raise NotSigned(INCOMPLETE, " ".join(requires))
    return found


def _signed_at(headers: Headers) -> Instant:
    for name in ("x-amz-date", "date"):
        if name in headers:
            return _instant(headers[name][0])
    raise NotSigned(
        INCOMPLETE,
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
    )


def _instant(text: str) -> Instant:
    try:
        if _STAMP.fullmatch(text):
            return timegm(strptime(text, _STAMP_FORMAT))
        return timegm(parsedate_to_datetime(text).utctimetuple())
    except (ValueError, OverflowError):
        raise NotSigned(INCOMPLETE, "Date must be in ISO-8601 'basic format'.") from None


def _stamp(at: Instant) -> str:
    return strftime(_STAMP_FORMAT, gmtime(at))


def _check_scope(day: str, service: str, terminator: str, stamp: str) -> None:
    if service != SERVICE:
        raise NotSigned(INVALID, f"Credential should be scoped to correct service: '{SERVICE}'.")
    if terminator != TERMINATOR:
        raise NotSigned(
            INVALID, f"Credential should be scoped with a valid terminator: '{TERMINATOR}'."
        )
    if day != stamp[:8]:
        raise NotSigned(
            INVALID,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            "HTTP.",
        )


def _check_headers(names: Sequence[str], headers: Headers) -> None:
    """What says where a request goes, when, and what it asks for must be signed."""
    dated = "x-amz-date" if "x-amz-date" in headers else "date"
    for name in ("host", dated, *(name for name in headers if name.startswith("x-amz-"))):
        if name not in names:
            shown = "'Host' or ':authority'" if name == "host" else f"'{name}'"
            raise NotSigned(INVALID, f"{shown} must be a 'SignedHeader' in the AWS Authorization.")
    for digest in headers.get("x-amz-content-sha256", ()):
        if not _DIGEST.fullmatch(digest):
            raise NotSigned(
                INVALID, "x-amz-content-sha256 must be the body's SHA-256: the body must be signed."
            )


def _check_time(at: Instant, now: Instant) -> None:
    stamp, limit = _stamp(at), f"{_stamp(now)} {{}} {SKEW_MAX / 60:.0f} min."
    if at < now - SKEW_MAX:
        earliest = f"{_stamp(now - SKEW_MAX)} ({limit.format('-')})"
        raise NotSigned(INVALID, f"Signature expired: {stamp} is now earlier than {earliest}")
    if at > now + SKEW_MAX:
        latest = f"{_stamp(now + SKEW_MAX)} ({limit.format('+')})"
        raise NotSigned(INVALID, f"Signature not yet current: {stamp} is still later than {latest}")


def _canonical_query(query: str) -> str:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return "&".join(
        f"{name}={value}"
        for name, value in sorted((_requoted(name), _requoted(value)) for name, _, value in pairs)
    )


def _requoted(text: str) -> str:
    """`text` of a query with exactly what needs an escape escaped; + is a space there."""
    raw = unquote_to_bytes(text.replace("+", " ").encode(errors="surrogateescape"))
    return quote(raw, safe="-_.~")


def _canonical_value(values: Sequence[str]) -> str:
    return ",".join(" ".join(value.split()) for value in values)
