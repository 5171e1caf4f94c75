"""What `run` and `check` read: a config, a template, or both."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from poller.errors import ConfigError

if TYPE_CHECKING:
    from poller.settings import Settings, Template

REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config",
        metavar="CONFIG",
        type=Path,
        nargs="?",
        help="a YAML or JSON file; may be left out with --template",
    )
    parser.add_argument(
        "--template",
        metavar="FILE",
        type=Path,
        help="mappings and their functions from a SAM or CloudFormation template",
    )
    parser.add_argument(
        "--parameter",
        metavar="KEY=VALUE",
        type=_key_and_value,
        action="append",
        default=[],
        help="of the template: the value of a parameter (also AWS::AccountId, AWS::Region, "
        "AWS::StackName), the name of a RESOURCE that has none there, or a RESOURCE.ATTRIBUTE; "
        "may be repeated",
    )


def read_settings(options: argparse.Namespace) -> Settings:
    """Raises ConfigError."""
    from poller.settings import load  # noqa: PLC0415 - what other commands need nothing of

    template = _template(options)
    if options.config is None and template is None:
        raise ConfigError("give a CONFIG, or --template FILE, or both; see --help")
    environ = os.environ if template is None else _with_region(os.environ)
    return load(options.config, environ, now=time.time(), template=template)


def name_of(options: argparse.Namespace) -> str:
    """What is read, as the user called it."""
    return " and ".join(str(path) for path in (options.config, options.template) if path)


def _template(options: argparse.Namespace) -> Template | None:
    from poller.settings import Template  # noqa: PLC0415 - as above

    if options.template is None:
        if options.parameter:
            raise ConfigError("--parameter is for a template: add --template FILE")
        return None
    return Template(options.template, _parameters(options.parameter))


def _parameters(given: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    parameters = dict(given)
    if len(parameters) < len(given):
        raise ConfigError("--parameter has a key twice; keep one")
    return parameters


def _key_and_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _with_region(environ: Mapping[str, str]) -> Mapping[str, str]:
    """A template's ARNs need a region, which may be that of a profile."""
    if any(environ.get(variable) for variable in REGION_VARIABLES):
        return environ
    from poller.aws.sessions import configured_region  # noqa: PLC0415 - takes a third of a second

    region = configured_region()
    return {**environ, REGION_VARIABLES[0]: region} if region else environ
