"""Standard output that may not be writable: a full disk, a reader that left, a descriptor that is closed."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import BinaryIO, cast


class Output(io.TextIOWrapper):
    """Remembers why it could not be written: the error itself does not say which file it is about."""

    lost: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self.lost = error
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self.lost = error
            raise


def watch_output() -> None:
    """Makes stdout one that remembers, which lacks no letter: as on stderr, such a one is no failure."""
    found = sys.stdout
    if found is None:
        # Closed. Its number is taken, as else the next file that is opened would have it; writing fails.
        closed = os.fdopen(os.open(os.devnull, os.O_RDONLY), "wb")
        sys.stdout = Output(closed, encoding="utf-8", errors="backslashreplace")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if type(found) is not io.TextIOWrapper:  # somebody's who listens: a test's
        return
    sys.stdout = Output(
        cast("BinaryIO", found.buffer),
        encoding=found.encoding,
        errors="backslashreplace",
        line_buffering=found.line_buffering,
        write_through=found.write_through,
    )


def lost_output() -> OSError | None:
    """Why stdout could not be written, None when it could. What waited is written now."""
    with suppress(OSError):
        sys.stdout.flush()
    return sys.stdout.lost if isinstance(sys.stdout, Output) else None


def tell_lost(lost: OSError) -> None:
    """One plain line on stderr; none when a reader left. Nothing more is written."""
    if not isinstance(lost, BrokenPipeError):
        with suppress(OSError):  # stderr may be on the same full disk
            sys.stderr.write(f"error: the output cannot be written: {lost.strerror}\n")
    # The interpreter flushes once more when it ends, and would complain.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
