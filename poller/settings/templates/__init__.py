"""SAM and CloudFormation templates: their event source mappings, and the functions of those."""

from .joining import Joining

__all__ = ["Joining"]
