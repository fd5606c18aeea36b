"""YAML files: places of values, limits, secrets. What is refused, and in which words: test_broken_input."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import InputError
from provisioner.inventory.documents import parse_document, read_document
from provisioner.inventory.secrets import Secret


def refused(text: bytes | str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_document(text, "f.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("opener", ["[", "{a: ", "- ", "? "])
def test_depth_is_bounded(opener: str) -> None:
    assert "nested deeper than 64 levels" in refused(opener * 100_000)[0]


def test_a_file_that_is_missing_or_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputError) as caught:
            read_document(path)
        assert caught.value.problems[0].line == 0


def test_data_is_plain_and_places_are_known() -> None:
    text = "a: &x {p: 1, q: [1, two]}\nb:\n  <<: *x\n  p: 2\nwhen: 2024-01-31\nyes: 0b11\n"
    document = parse_document("﻿" + text, "f.yaml")
    assert document.data == {
        "a": {"p": 1, "q": [1, "two"]},
        "b": {"p": 2, "q": [1, "two"]},
        "when": "2024-01-31",
        True: 3,
    }
    assert document.at(()) == (1, 1)
    assert document.at(("a", "q", 1)) == (1, 21)
    assert document.at(("b",), key=True) == (2, 1)
    assert document.at(("b", "p")) == (4, 6)
    assert document.at(("b", "q"), key=True) == (1, 14), "a merged key is where it was written"
    assert document.at(("b", "nothing", "below")) == document.at(("b",)) == (3, 3)


def test_digest_is_of_the_bytes() -> None:
    one, same, other = (parse_document(text, "f").digest for text in ("a: 1", b"a: 1", "a: 2"))
    assert one == same != other
    assert len(one) == 64


def test_secrets_do_not_show_and_reveal_what_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pw").write_text("from-file\n")
    monkeypatch.setenv("PROVISION_TEST_PW", "from-env")
    text = "f: !secret {file: pw}\ne: !secret {env: PROVISION_TEST_PW}\nc: !secret {command: cat pw}\n"
    (tmp_path / "i.yaml").write_text(text)
    data = read_document(tmp_path / "i.yaml").data
    assert {key: secret.reveal() for key, secret in data.items()} == {
        "f": "from-file",
        "e": "from-env",
        "c": "from-file",
    }
    assert "from" not in f"{data} {data['f']!s} {data['f']!r} {data['f']:>20}"
    assert repr(Secret.text("plain")) == str(Secret.text("plain")) == "********"
    assert Secret.text("a") == Secret.text("a") != Secret.text("b")
