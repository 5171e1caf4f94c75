"""The style that no linter knows, as tests over the files of the repository."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE_LINES_MAX = 300
FUNCTION_LINES_MAX = 45
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
FILE_BYTES_MAX = 2_000_000

# Put together from pieces, so that this file does not match itself.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
PLACES = re.compile(
    "|".join(
        [
            *(r"(?<![\w.])/" + folder + "/" for folder in ("wo" + "rk", "ho" + "me", "ro" + "ot")),
            *("/Us" + "ers/", r"py" + r"pi\.org", "python" + "hosted", r"npm" + r"js\.org"),
            *(r"deb\.deb" + "ian", r"repo1\.mav" + "en", r"proxy\.gol" + "ang"),
        ]
    )
)
ADDRESS = re.compile(r"https?://|--(extra-)?index-url|--find-links|\"resolved\"")
RECORDED = "recorded"  # the folder of what others wrote
LOCKS = [
    "requirements.lock",
    "requirements-dev.lock",
    "deploy/image/requirements.lock",
    "deploy/image/build.lock",
    "tests/npm/package-lock.json",
]


def tracked() -> list[Path]:
    """Every file that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / name for name in sorted(set(listed.stdout.splitlines())))
    return [path for path in paths if path.is_file() and path.stat().st_size <= FILE_BYTES_MAX]


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def found(paths: list[Path], pattern: re.Pattern[str]) -> Iterator[str]:
    """FILE:LINE: TEXT of each line that matches."""
    for path in paths:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                yield f"{name(path)}:{number}: {line.strip()[:100]}"


def test_a_module_is_short_enough_to_be_read_at_once() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in modules("poller")}

    assert {path: lines for path, lines in lengths.items() if lines > MODULE_LINES_MAX} == {}


def test_a_function_fits_on_a_screen() -> None:
    too_long = [
        f"{name(path)}:{node.lineno}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in modules("poller")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]

    assert too_long == []


def test_a_module_opens_with_its_job() -> None:
    silent = [
        name(path)
        for path in modules("poller")
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert silent == []


@pytest.mark.parametrize("folder", ["poller", "tests"])
def test_a_module_has_a_name_that_says_something(folder: str) -> None:
    vague = [
        name(path)
        for path in modules(folder)
        if VAGUE_NAMES & {path.stem, *path.relative_to(ROOT).parent.parts}
    ]

    assert vague == []


def test_nothing_is_left_to_be_done_later() -> None:
    assert list(found(modules("poller") + modules("tests"), UNFINISHED)) == []


def test_what_catches_everything_raises_it_again_or_logs_it() -> None:
    silent = [
        f"{name(path)}:{handler.lineno}"
        for path in modules("poller")
        for handler in ast.walk(ast.parse(path.read_text()))
        if isinstance(handler, ast.ExceptHandler) and catches_all(handler) and is_silent(handler)
    ]

    assert silent == []


def catches_all(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or (
        isinstance(handler.type, ast.Name) and handler.type.id in {"Exception", "BaseException"}
    )


def is_silent(handler: ast.ExceptHandler) -> bool:
    """Whether it neither raises nor logs with a traceback."""
    nodes = [node for statement in handler.body for node in ast.walk(statement)]
    return not any(
        isinstance(node, ast.Raise)
        or (isinstance(node, ast.keyword) and node.arg == "exc_info")
        or (isinstance(node, ast.Attribute) and node.attr == "exception")
        for node in nodes
    )


def test_files_name_no_place_on_one_machine_and_no_registry() -> None:
    ours = [path for path in tracked() if RECORDED not in path.parts]

    assert list(found(ours, PLACES)) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_names_versions_and_hashes_but_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    hashes = text.count("sha256:") + text.count('"sha512-')
    # The manifests of npm packages name the page where a project asks for money.
    lines = [line for line in found([ROOT / lock], ADDRESS) if '"url": ' not in line]

    assert lines == []
    assert hashes > 0
