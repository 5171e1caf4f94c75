"""How the output of processes is cut into lines."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from poller.targets.output_lines import LINE_BYTES_MAX, Lines


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8")), min_size=1),
    st.lists(st.integers(0, 200)),
)
def test_lines_are_the_same_however_they_arrive(lines: list[str], cuts: list[int]) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    got: list[str] = []
    output = Lines(got.extend)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        output.feed(data[start:end])
    output.end()

    assert got == lines


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5 * LINE_BYTES_MAX), st.integers(1000, 100_000))
def test_a_line_without_end_is_broken_up_and_nothing_of_it_lost(length: int, chunk: int) -> None:
    got: list[str] = []
    output = Lines(got.extend)
    for start in range(0, length, chunk):
        output.feed(b"x" * min(chunk, length - start))
    output.end()

    assert "".join(got) == "x" * length
    assert all(len(line) <= LINE_BYTES_MAX for line in got)
