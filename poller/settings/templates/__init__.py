"""SAM and CloudFormation templates: their event source mappings, and the functions of those."""

from .joining import Joining, Template

__all__ = ["Joining", "Template"]
