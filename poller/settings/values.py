"""What a valid config file says, as frozen values.

Lines and secrets are no part of what these show of themselves; lines are no part of what they are,
so that a reread file with a comment more is the same settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from poller.core.model import Seconds
from poller.targets.http_addresses import EMULATOR_PATH
from poller.wire.arns import FunctionReference, mapping_uuid, parse_source
from poller.wire.mappings import MappingConfig


@dataclass(frozen=True, slots=True)
class Template:
    """A template's file and the values of --parameter, by name."""

    path: Path
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsConfig:
    """The `aws` block.  `region` is None where neither it nor the environment names one."""

    region: str | None
    account_id: str
    endpoint_url: str | None
    endpoints: Mapping[str, str]

    def function_arn(self, function: FunctionReference, source_region: str) -> str:
        """The ARN of a function that gets records from there, with the qualifier as given.

        The region is the file's or the environment's, else the one that the reference names, else
        the source's.
        """
        region = self.region or function.region or source_region
        return function.arn(region=region, account=self.account_id)


SECRET_MIN = 8  # characters; an emulator's customary ones are shorter


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Who may use what is served on `listen`: who signs with one of the keys (ids and secrets), or
    has the token.  Neither: `auth: none`, everybody."""

    access_keys: Mapping[str, str] = field(repr=False)
    token: str | None = field(repr=False)

    @property
    def is_none(self) -> bool:
        return not self.access_keys and self.token is None

    @property
    def is_guessable(self) -> bool:
        """Whether whoever reaches the port could try all secrets as short as one of these."""
        secrets = (*self.access_keys.values(), *([] if self.token is None else [self.token]))
        return any(len(secret) < SECRET_MIN for secret in secrets)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerConfig:
    """A Python callable, run by the interpreter `python` with `folder` as its code.

    `memory`: MB that a process may have; None is without limit.
    """

    handler: str
    folder: Path
    python: str
    memory: int | None
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """An HTTP endpoint, or a pool of them."""

    urls: tuple[str, ...] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def emulators(self) -> bool:
        """Whether any of them is a Lambda Runtime Interface Emulator."""
        return any(urlsplit(url).path.endswith(EMULATOR_PATH) for url in self.urls)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandConfig:
    """A program that speaks the Lambda Runtime API, with `folder` as its code.

    `arguments`: the program and its own, as given.  `memory`: MB that a process
    may have; None is without limit.
    """

    arguments: tuple[str, ...] = field(repr=False)
    folder: Path
    memory: int | None
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeApiConfig:
    """Where runtimes that somebody else starts find the Runtime API.

    `allow`: the networks they may come from, as CIDR; on loopback it may be empty.
    """

    host: str
    port: int
    allow: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaConfig:
    """A function behind an Invoke API: a name or an ARN, with version or alias."""

    function: str


Runs = HandlerConfig | CommandConfig | EndpointConfig | RuntimeApiConfig | LambdaConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncConfig:
    """How asynchronous invocations are retried; ARNs of who is told what they came to."""

    retries_max: int = 2
    age_max: Seconds = 21_600
    on_success: str | None = None
    on_failure: str | None = None
    dead_letter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionConfig:
    """A declared function.  `name` is its key: `orders`, `orders:live`.  `concurrency`: None is
    without limit.  `role`: the ARN that events name as `invokeIdentityArn`."""

    name: str
    timeout: Seconds
    concurrency: int | None
    role: str
    runs: Runs
    line: int = field(compare=False, repr=False)
    asynchronous: AsyncConfig = AsyncConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSettings:
    """A mapping of the file.  `function` is a key of `Settings.functions`; `function_arn` has the
    qualifier as the mapping gives it."""

    uuid: str
    function: str
    function_arn: str
    config: MappingConfig
    line: int = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitedMapping:
    """A mapping of a table's stream, whose ARN only the table knows, once it is there; until then
    `mapping` has one that stands for it."""

    table: str
    mapping: MappingSettings

    @property
    def region(self) -> str:
        return self.mapping.config.source.region

    def found(self, stream_arn: str) -> MappingSettings:
        """The mapping, now that the stream is known.  Raises ArnError."""
        config = replace(self.mapping.config, source=parse_source(stream_arn))
        uuid = mapping_uuid(stream_arn, self.mapping.function_arn)
        return replace(self.mapping, uuid=uuid, config=config)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingConfig:
    """Where spans go.  `ratio`: how many of the traces that begin here are recorded;
    `parent_based`: the others are where what they go on with is.  `resource`: attributes of this
    process, beside those of the environment."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    ratio: float
    parent_based: bool
    resource: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A whole config, with the template that goes with it.

    `state`: `sqlite:` and an absolute path.  `listen`: host and port.  `auth`: None where nothing
    is said, which is enough on loopback.  `concurrency`: most invocations of all functions
    together; None is without limit.  `tracing`: None records nothing.  `notes`: lines that
    are worth reading though nothing is wrong.  `warnings`: lines about what is probably not meant,
    which a mapping that runs says itself.
    """

    aws: AwsConfig
    state: str
    listen: tuple[str, int]
    functions: Mapping[str, FunctionConfig]
    mappings: tuple[MappingSettings, ...]
    auth: AuthConfig | None = None
    concurrency: int | None = None
    tracing: TracingConfig | None = None
    awaited: tuple[AwaitedMapping, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def function_arn(self, function: FunctionReference, source_region: str) -> str | None:
        """The ARN of a declared function; None if it is not declared."""
        region, account = self.aws.region, self.aws.account_id
        known = (
            function.key in self.functions
            and function.account in {None, account}
            and (region is None or function.region in {None, region})
        )
        return self.aws.function_arn(function, source_region) if known else None
