"""YAML files: what is refused, with its place; places of values; secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.errors import InputError
from provisioner.inventory import compose
from provisioner.inventory.documents import parse_document, read_document
from provisioner.inventory.secrets import Secret

DATA = Path(__file__).parents[1] / "data" / "inventory"
CASES = yaml.safe_load((DATA / "documents.yaml").read_text())


def refused(text: bytes | str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_document(text, "f.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_refusals(case: dict[str, Any], loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "_Loader", getattr(yaml, loader))
    problems = refused(case["text"])
    assert len(problems) == len(case["problems"]), problems
    for problem, expected in zip(problems, case["problems"], strict=True):
        place, reason = expected.split(" | ")
        assert problem.startswith(f"f.yaml:{place}: "), problem
        assert reason in problem


def test_bytes_that_are_not_utf8() -> None:
    assert refused(b"a: 1\nb: \xc3\xa9\xff\n") == [
        "f.yaml:2:5: the file is not UTF-8: byte 0xff (save it as UTF-8)"
    ]
    assert "not UTF-8" in refused("a: 1".encode("utf-16"))[0]


def test_aliases_that_explode() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert "stand for more than 100000 values" in refused("\n".join(lines))[0]


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


@pytest.mark.parametrize(
    "source", ["env: PROVISION_NO_SUCH", "file: none", "command: 'false'", "command: /no/such"]
)
def test_secrets_that_have_no_source(source: str, tmp_path: Path) -> None:
    secret = parse_document(f"\na: !secret {{{source}}}", str(tmp_path / "i.yaml")).data["a"]
    with pytest.raises(InputError) as caught:
        secret.reveal()
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 4)
