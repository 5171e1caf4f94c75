"""AWS Lambda's event source mapping as a process of its own."""

__version__ = "0.1.0"
