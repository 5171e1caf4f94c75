"""Templates for tests: what they become, and what is said to be wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poller.settings import InvalidConfig, MappingSettings, Settings, Template, load
from poller.wire.requests import as_request

NOW = 1_770_000_000.0
ENVIRON = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}

FUNCTION = """
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code/
      Handler: app.handler
      Runtime: python3.11
"""


def loaded(
    folder: Path,
    text: str,
    parameters: Mapping[str, str] | None = None,
    *,
    config: str | None = None,
    environ: Mapping[str, str] = ENVIRON,
) -> Settings:
    """The settings of the template `text` in `folder`, which has a folder `code`."""
    (folder / "code").mkdir(exist_ok=True)
    template, path = folder / "template.yaml", None
    template.write_text(text)
    if config is not None:
        path = folder / "poller.yaml"
        path.write_text(config)
    return load(path, environ, now=NOW, template=Template(template, parameters or {}))


def lines(folder: Path, text: str, parameters: Mapping[str, str] | None = None,
          *, config: str | None = None) -> list[str]:  # fmt: skip
    """What is wrong with a template and its config, without the folder."""
    try:
        loaded(folder, text, parameters, config=config)
    except InvalidConfig as error:
        return [line.removeprefix(f"{folder}/") for line in error.lines]
    return []


def notes(folder: Path, text: str, parameters: Mapping[str, str] | None = None) -> list[str]:
    """What is not wrong but said, without the folder."""
    found = loaded(folder, text, parameters).notes
    return [note.removeprefix(f"{folder}/template.yaml:") for note in found]


def worker(events: str, more: str = "") -> str:
    """A template whose function has these events, indented by 8; `more` follows the function."""
    return f"Resources:{FUNCTION}      Events:\n{events}{more}"


def queue_event(queue: str, settings: str = "") -> str:
    return f"        Job: {{Type: SQS, Properties: {{Queue: {queue}{settings}}}}}\n"


def request(mapping: MappingSettings) -> dict[str, Any]:
    return as_request(mapping.config)
