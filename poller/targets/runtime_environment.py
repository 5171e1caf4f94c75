"""The environment variables of a runtime's process: what Lambda sets, and little of poller's own.

As on AWS a function sees what its configuration names.  From poller's environment it gets what
makes programs run on this machine and reach AWS, so no secret that is meant for poller alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from poller.core.model import Instant
from poller.errors import ConfigError

from .strays import VARIABLE as MARK_VARIABLE

MEMORY_DEFAULT = 128  # AWS's default MemorySize, in MB

INHERITED = frozenset(
    (
        "PATH",
        "HOME",
        "USER",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    )
)
HANDLER_VARIABLE = "_HANDLER"  # set by poller where it knows the handler
RESERVED = frozenset(
    (
        "_X_AMZN_TRACE_ID",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        MARK_VARIABLE,
    )
)


@dataclass(frozen=True, slots=True)
class RuntimeEnvironment:
    """One function's part of it; `environment` is what its configuration names.

    `name`: as declared, NAME or NAME:QUALIFIER; the function is told the name alone, as on Lambda.
    `handler`: None for a program that is told none.  `memory`: MB.
    Raises ConfigError if `environment` has a variable that Lambda sets itself, or that cannot be.
    """

    name: str
    handler: str | None
    task_root: str
    region: str
    memory: int
    environment: Mapping[str, str]

    def __post_init__(self) -> None:
        for variable, value in self.environment.items():
            place = f"function {self.name}: environment: {variable!r}"
            told = variable == HANDLER_VARIABLE and self.handler is not None
            if told or variable in RESERVED:
                raise ConfigError(f"{place} is set by poller, as Lambda does: take it out")
            if not variable or "=" in variable or "\0" in variable + value:
                raise ConfigError(f"{place} or its value cannot be: take out = and NUL")

    @property
    def version(self) -> str:
        """That which is run: the qualifier, if it is a number."""
        qualifier = self.name.partition(":")[2]
        return qualifier if qualifier.isdecimal() else "$LATEST"

    def variables(
        self, inherited: Mapping[str, str], *, api: str, log_stream: str, mark: str
    ) -> dict[str, str]:
        """All variables of one process; `inherited` is poller's own environment."""
        name = self.name.partition(":")[0]
        told = {} if self.handler is None else {HANDLER_VARIABLE: self.handler}
        ours = {
            "LAMBDA_TASK_ROOT": self.task_root,
            "LAMBDA_RUNTIME_DIR": self.task_root,  # where a bootstrap lies here
            "AWS_LAMBDA_RUNTIME_API": api,
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": self.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
            MARK_VARIABLE: mark,
        }
        place = {
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
        }
        kept = {name: value for name, value in inherited.items() if _is_inherited(name)}
        return kept | place | dict(self.environment) | ours | told


def log_stream_name(started_at: Instant, serial: int, version: str) -> str:
    """In the form of AWS's: date, version, and 32 hexadecimal digits of its own."""
    date = datetime.fromtimestamp(started_at, UTC).strftime("%Y/%m/%d")
    return f"{date}/[{version}]{int(started_at * 1_000_000):016x}{serial:016x}"


def _is_inherited(name: str) -> bool:
    """Credentials, profiles and endpoints are in AWS_*; what is AWS_LAMBDA_* is another's."""
    if name.startswith("AWS_"):
        return not name.startswith("AWS_LAMBDA_") and name not in RESERVED
    return name in INHERITED
