"""Config and template: read, checked, and turned into frozen values; for cli and service only."""

from poller.errors import InvalidConfig

from .functions import undeclared
from .loading import load, override
from .values import (
    AwaitedMapping,
    AwsConfig,
    EndpointConfig,
    FunctionConfig,
    HandlerConfig,
    MappingSettings,
    Settings,
    Template,
)

__all__ = [
    "AwaitedMapping",
    "AwsConfig",
    "EndpointConfig",
    "FunctionConfig",
    "HandlerConfig",
    "InvalidConfig",
    "MappingSettings",
    "Settings",
    "Template",
    "load",
    "override",
    "undeclared",
]
