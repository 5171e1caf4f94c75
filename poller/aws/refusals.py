"""Why a call of an aiobotocore client brought nothing, as one line."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from poller.errors import PollerError

REASON_LENGTH_MAX = 300

# What a call or the making of its client raises.
CallErrors = (ClientError, BotoCoreError, PollerError)

_FORBIDDEN = frozenset(
    {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
    }
)


def code_of(error: Exception) -> str:
    """AWS's own code; empty where nobody answered."""
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", "unknown error"))


def reason_of(error: Exception) -> str:
    """Code and message of a reply, or what kept the call from having one."""
    text = str(error)
    if isinstance(error, ClientError):
        text = f"{code_of(error)}: {error.response.get('Error', {}).get('Message', '')}"
    return " ".join(text.split()).rstrip(".:")[:REASON_LENGTH_MAX]


def is_forbidden(error: Exception) -> bool:
    """Whether the identity of the caller may not make this call."""
    return code_of(error) in _FORBIDDEN


def remedy_of(error: Exception, permission: str) -> str:
    """To be added to the reason of a call that needs `permission`; perhaps empty."""
    if is_forbidden(error):
        return f"; allow {permission} to the identity that poller runs as"
    return ""
