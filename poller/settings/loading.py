"""A config file to `Settings`, or to a line for each thing that is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from poller.core.model import Instant
from poller.errors import ConfigError, InvalidConfig
from poller.wire.problems import Problem, unknown_key

from .addresses import (
    LISTEN_DEFAULT,
    STATE_DEFAULT,
    check_exposed,
    parse_account,
    parse_listen,
    parse_region,
    parse_state,
)
from .asynchronous import loop_problems
from .auth import read_auth
from .file import ConfigFile
from .functions import read_function, shared_addresses
from .mappings import read_mappings
from .nodes import Block, Node, Scalar
from .readers import number, read_entry
from .schema import CONCURRENCY_MAX, AwsEntry
from .tracing import read_tracing
from .values import AwsConfig, FunctionConfig, MappingSettings, Settings, Template

ACCOUNT_DEFAULT = "000000000000"

KEYS = ("aws", "state", "listen", "auth", "tracing", "concurrency", "functions", "mappings")
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    now: Instant,
    template: Template | None = None,
) -> Settings:
    """The settings in the file at `path`, with those of `template`; one of them may be None.

    `environ` replaces variables, and names the region if the file does not; no time in the file
    may be later than `now`.  Raises InvalidConfig with everything that is wrong, in the order of
    the file, as `FILE:LINE: PATH: what is wrong; what would be right`.
    """
    if path is not None:
        file = ConfigFile.read(path, environ)
    else:
        assert template is not None
        file = ConfigFile.empty(template.path)
    return _Loading(file, environ, now, template).settings()


def override(
    settings: Settings, *, listen: str | None = None, state: str | None = None, folder: Path
) -> Settings:
    """`settings` with what the command line says instead; None: nothing.

    A relative path of `state` starts at `folder`.  Raises ConfigError.
    """
    option = "--listen"
    try:
        if listen is not None:
            settings = replace(settings, listen=parse_listen(listen))
            check_exposed(settings.listen, auth=settings.auth is not None)
        option = "--state"
        if state is not None:
            settings = replace(settings, state=parse_state(state, folder.absolute()))
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None
    return settings


class _Loading:
    """Reads what can be read of a config; what cannot is noted and stands at its default."""

    def __init__(
        self,
        file: ConfigFile,
        environ: Mapping[str, str],
        now: Instant,
        template: Template | None,
    ) -> None:
        self._file = file
        self._folder = Path(file.name).parent.absolute()
        self._environ = environ
        self._now = now
        self._template = template

    def settings(self) -> Settings:
        """Raises InvalidConfig."""
        file, blocks = self._file, _blocks(self._file)
        aws = _aws(file, blocks.get("aws"), self._environ)
        if self._template is not None:
            aws = _given_place(file, aws, self._template.parameters)
        declared = _declared(file, blocks.get("functions"))
        settings = Settings(
            aws=aws,
            state=_state(file, blocks.get("state"), self._folder),
            listen=_listen(file, blocks.get("listen"), auth="auth" in blocks),
            auth=read_auth(file, blocks.get("auth")),
            functions=_functions(file, declared, self._folder, aws, self._environ),
            mappings=(),
            concurrency=_concurrency(file, blocks.get("concurrency")),
            tracing=read_tracing(file, blocks.get("tracing"), self._environ),
        )
        shared = shared_addresses(settings.functions.values(), settings.listen)
        file.note(*(problem.below("functions") for problem in shared))
        if self._template is not None:
            return self._joined(self._template, settings, blocks, declared)
        settings = replace(settings, mappings=self._mappings(blocks, aws, declared.entries.keys()))
        _check(file)
        return replace(settings, warnings=tuple(file.warnings))

    def _mappings(
        self, blocks: Mapping[str, Node], aws: AwsConfig, declared: Collection[str]
    ) -> tuple[MappingSettings, ...]:
        return read_mappings(
            self._file, blocks.get("mappings"), aws=aws, declared=declared, now=self._now
        )

    def _joined(
        self, template: Template, settings: Settings, blocks: Mapping[str, Node], declared: Block
    ) -> Settings:
        # Memory that a poller without a template does without.
        from .templates import Joining  # noqa: PLC0415

        joining = Joining(template, settings.aws, declared.entries.keys())
        of_config = self._mappings(blocks, settings.aws, {*declared.entries, *joining.offered})
        joining.use(of_config)
        mappings, awaited = joining.mappings(of_config, self._now)
        functions = {**settings.functions, **joining.functions(settings.functions, self._environ)}
        joining.note_defaults(self._environ)
        _check(self._file, joining.stack.file)
        return replace(
            settings,
            functions=MappingProxyType(functions),
            mappings=mappings,
            awaited=awaited,
            notes=tuple(joining.stack.notes),
            warnings=(*self._file.warnings, *joining.stack.file.warnings),
        )


def _check(*files: ConfigFile) -> None:
    """Raises InvalidConfig if anything was noted."""
    if lines := [line for file in files for line in file.lines]:
        raise InvalidConfig(lines)


def _given_place(file: ConfigFile, aws: AwsConfig, given: Mapping[str, str]) -> AwsConfig:
    """`aws` with the region and the account that --parameter says."""
    from .templates.parameters import ACCOUNT, REGION  # noqa: PLC0415 - as above

    region, account = given.get(REGION, aws.region), given.get(ACCOUNT, aws.account_id)
    try:
        region = region and parse_region(region)
        account = parse_account(account)
    except ValueError as error:
        file.note(Problem(("--parameter",), str(error)))
    return replace(aws, region=region, account_id=account)


def _blocks(file: ConfigFile) -> dict[str, Node]:
    """The top of the file.  A key of which all is commented out is as good as none."""
    if not isinstance(file.root, Block):
        file.note(Problem((), "the file must have keys, such as functions: and mappings:"))
        return {}
    for key in file.root.entries:
        if key not in KEYS:
            file.note(unknown_key((key,), KEYS))
    return {
        key: entry.node
        for key, entry in file.root.entries.items()
        if not (isinstance(entry.node, Scalar) and entry.node.value is None)
    }


def _aws(file: ConfigFile, node: Node | None, environ: Mapping[str, str]) -> AwsConfig:
    entry = AwsEntry()
    match node:
        case None:
            pass
        case Block():
            match read_entry(AwsEntry, node):
                case AwsEntry() as entry:
                    pass
                case problems:
                    file.note(*(problem.below("aws") for problem in problems))
        case _:
            file.note(Problem(("aws",), "must be a block of keys", "such as region: us-east-1"))
    return AwsConfig(
        region=entry.region or _region(file, environ),
        account_id=entry.account_id or ACCOUNT_DEFAULT,
        endpoint_url=entry.endpoint_url,
        endpoints=MappingProxyType(entry.endpoints or {}),
    )


def _region(file: ConfigFile, environ: Mapping[str, str]) -> str | None:
    for variable in REGION_VARIABLES:
        if region := environ.get(variable):
            try:
                return parse_region(region)
            except ValueError as error:
                file.note(Problem(("aws", "region"), f"{variable} in the environment {error}"))
    return None


def _state(file: ConfigFile, node: Node | None, folder: Path) -> str:
    text = _text(file, "state", node, STATE_DEFAULT)
    try:
        return parse_state(text, folder)
    except ValueError as error:
        file.note(Problem(("state",), str(error)))
        return text


def _listen(file: ConfigFile, node: Node | None, *, auth: bool) -> tuple[str, int]:
    try:
        listen = parse_listen(_text(file, "listen", node, LISTEN_DEFAULT))
        check_exposed(listen, auth=auth)
    except ValueError as error:
        file.note(Problem(("listen",), str(error)))
        return parse_listen(LISTEN_DEFAULT)
    return listen


def _concurrency(file: ConfigFile, node: Node | None) -> int | None:
    if node is None:
        return None
    try:
        limit: int = number(1, CONCURRENCY_MAX, int)(node)
    except ValueError as error:
        file.note(Problem(("concurrency",), str(error)))
        return None
    return limit


def _text(file: ConfigFile, key: str, node: Node | None, default: str) -> str:
    match node:
        case None:
            return default
        case Scalar(text=text):
            return text
        case _:
            file.note(Problem((key,), "must be text", f"such as {default}"))
            return default


def _declared(file: ConfigFile, node: Node | None) -> Block:
    """The block of functions; an empty one where there is none."""
    match node:
        case Block():
            return node
        case None:
            pass
        case _:
            remedy = "name each function, with its keys below"
            file.note(Problem(("functions",), "must be a block of keys", remedy))
    return Block({}, file.root.line, nodes=1, depth=1)


def _functions(
    file: ConfigFile, declared: Block, folder: Path, aws: AwsConfig, environ: Mapping[str, str]
) -> Mapping[str, FunctionConfig]:
    functions: dict[str, FunctionConfig] = {}
    for name, entry in declared.entries.items():
        function = read_function(
            name, entry.node, entry.line, folder=folder, account=aws.account_id, environ=environ
        )
        match function:
            case FunctionConfig():
                functions[name] = function
                problems = loop_problems(function, aws)
            case problems:
                pass
        file.note(*(problem.below("functions", name) for problem in problems))
    return MappingProxyType(functions)
