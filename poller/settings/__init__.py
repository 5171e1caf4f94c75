"""Config and template: read, checked, and turned into frozen values; for cli and service only."""

from poller.errors import InvalidConfig

from .functions import undeclared
from .loading import load, override
from .values import (
    AsyncConfig,
    AuthConfig,
    AwaitedMapping,
    AwsConfig,
    CommandConfig,
    EndpointConfig,
    FunctionConfig,
    HandlerConfig,
    LambdaConfig,
    MappingSettings,
    RuntimeApiConfig,
    Settings,
    Template,
    TracingConfig,
)

__all__ = [
    "AsyncConfig",
    "AuthConfig",
    "AwaitedMapping",
    "AwsConfig",
    "CommandConfig",
    "EndpointConfig",
    "FunctionConfig",
    "HandlerConfig",
    "InvalidConfig",
    "LambdaConfig",
    "MappingSettings",
    "RuntimeApiConfig",
    "Settings",
    "Template",
    "TracingConfig",
    "load",
    "override",
    "undeclared",
]
