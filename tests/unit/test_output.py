"""An output that cannot be written: one line, no traceback; a reader that left: none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = "from provisioner.cli.main import main; main()"


def _type(*words: str, stdout: int | None, unbuffered: str, redirect: str = "") -> tuple[int, str]:
    argv = [sys.executable, "-c", RUN, *words]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", *argv] if redirect else argv,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [("init",), ("--help",), ("init", "--json"), ("plan", "no.yaml", "--json")])
class TestOutput:
    def test_a_full_disk(self, words: tuple[str, ...], unbuffered: str) -> None:
        with Path("/dev/full").open("w") as full:
            status, said = _type(*words, stdout=full.fileno(), unbuffered=unbuffered)
        assert (status, said) == (1, "error: the output cannot be written: No space left on device\n")

    def test_a_closed_one(self, words: tuple[str, ...], unbuffered: str) -> None:
        status, said = _type(*words, stdout=None, unbuffered=unbuffered, redirect=">&-")
        assert (status, said) == (1, "error: the output cannot be written: Bad file descriptor\n")

    def test_a_reader_that_left(self, words: tuple[str, ...], unbuffered: str) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            assert _type(*words, stdout=writing, unbuffered=unbuffered) == (1, "")
        finally:
            os.close(writing)


def test_errors_of_other_files_are_not_the_output_s() -> None:
    with Path("/dev/full").open("w") as full:
        status, said = _type("plan", "no.yaml", stdout=full.fileno(), unbuffered="")
    assert status == 3
    assert "no such inventory" in said
