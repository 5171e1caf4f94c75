"""Functions in ministack, which runs zipped Python without containers."""

from __future__ import annotations

import io
import uuid
import zipfile

from tests.servers import aws

ROLE = "arn:aws:iam::000000000000:role/function"


def new_function(url: str, code: str, *, timeout: int = 3) -> str:
    """The name of a function whose module has this `code`, with a `handler` in it."""
    name = f"f-{uuid.uuid4().hex[:12]}"
    aws("lambda", url).create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=ROLE,
        Handler="app.handler",
        Timeout=timeout,
        Code={"ZipFile": _zipped(code)},
    )
    return name


def _zipped(code: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", code)
    return packed.getvalue()
