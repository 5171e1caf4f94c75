"""Kinds of arguments that several commands take."""

from __future__ import annotations

import argparse
import math


def seconds(text: str) -> float:
    """A length of time.  Raises what argparse turns into a line for the user."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, 0 or more")
    return value
