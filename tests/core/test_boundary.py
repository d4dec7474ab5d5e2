"""What the input makes a reader raise ends nothing; what the machine makes it raise does."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator

import pytest

from pipeline.core.boundary import UpToFault, attempted, contained, is_of_input, said
from pipeline.core.errors import ErrorCode, InputError, StageError

OURS = [
    InputError(ErrorCode.INPUT_UNREADABLE, "x"),
    StageError(ErrorCode.CHILD_NOT_STARTED, "x"),
    MemoryError(),
    OSError(errno.EIO, "Input/output error"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
]
OF_INPUT = [
    RecursionError("too deep"),
    ValueError("no number"),
    IndexError(),
    EOFError(),
    OSError("Not a gzipped file"),
]


def reader(error: Exception) -> Iterator[int]:
    yield 1
    yield 2
    raise error


@pytest.mark.parametrize("error", OF_INPUT, ids=repr)
def test_a_fault_of_the_input_is_one_more_item_x80(error: Exception) -> None:
    """X80: after all that came before it."""
    assert is_of_input(error)
    assert list(contained(reader(error), lambda error, count: -count)) == [1, 2, -2]
    assert attempted(lambda: list(reader(error)), lambda error: [0]) == [0]


@pytest.mark.parametrize("error", OURS, ids=repr)
def test_a_fault_of_the_machine_or_our_own_is_raised_x80(error: Exception) -> None:
    """X80: it would be wrong to blame the input, and to remember that it is broken."""
    with pytest.raises(type(error)):
        list(contained(reader(error), lambda error, count: 0))
    with pytest.raises(type(error)):
        attempted(lambda: list(reader(error)), lambda error: [0])


def test_who_holds_items_back_gives_them_out_before_the_exception() -> None:
    items, held = UpToFault(reader(ValueError())), []
    held += items
    assert held == [1, 2]
    with pytest.raises(ValueError, match=r"^$"):
        items.end()


def test_what_is_said_is_one_short_line_that_names_what_needs_a_name() -> None:
    with pytest.raises(RecursionError) as caught:
        json.loads("[" * 100_000)
    assert said(caught.value).startswith("RecursionError: maximum recursion depth")
    assert [said(error) for error in (ValueError("\n a\nb"), EOFError(), IndexError(), ValueError("x" * 999))] == [
        " a",
        "ends too early",
        "IndexError",
        "x" * 200,
    ]
