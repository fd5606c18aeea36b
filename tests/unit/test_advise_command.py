"""`provision advise` as it is typed: what is printed, asked, and pasted."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from test_command_line import Desk

from provisioner.cli.advise import command
from provisioner.engine.advice import UNKNOWN
from provisioner.network.advicetable import advice_table
from provisioner.spec.load import load_cluster

BASE = Path(__file__).parents[1] / "data" / "spec" / "base.yaml"
GIVEN = (
    "--environment",
    "metal",
    "--subnets",
    "several",
    "--latency",
    "yes",
    "--policy",
    "yes",
    "--bgp",
    "yes",
)


@pytest.fixture
def desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Desk]:
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        yield Desk(tmp_path, monkeypatch, capsys)


def test_options_are_the_questions() -> None:
    options = {each.name: each for each in command.params if isinstance(each, click.Option)}
    for question in advice_table().questions:
        listed = options.pop(question.name).metavar
        assert not question.choices or listed == f"[{'|'.join((*question.choices, UNKNOWN))}]"
    assert options.keys() == {"rest_unknown", "as_json"}


def pasted(folder: Path, section: str) -> Any:
    """The base's cluster with the printed section in place of its own."""
    lines = BASE.read_text().splitlines()
    at = lines.index("      network:")
    path = folder / "pasted.yaml"
    path.write_text("\n".join([*lines[:at], *section.splitlines(), *lines[at + 3 :]]) + "\n")
    return load_cluster(path)[1]


def test_what_is_printed_can_be_pasted(desk: Desk) -> None:
    said = desk.type("advise", "--rest-unknown", *GIVEN)
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith("advice: Calico, plain packets, routes by BGP with the site's routers\n")
    _, _, section = said.out.partition("below all.vars.cluster of the inventory:\n")
    section, _, rest = section.partition("  ! fill in: ")
    assert rest.startswith("address and as_number of the routers")
    spec = pasted(desk.folder, section)
    assert spec.network.plugin == "calico"
    assert spec.network.calico.bgp.peers[0].as_number == 64513
    for part in (
        "measured 2024-01: InfraBuilder/benchmark-k8s-cni-2024-01",
        "3 bare-metal hosts, 40 Gbit/s",
        "not known: nodes, l7, encryption, kernel, modules, team",
        "TCP 179",
        "Weave Net: it is archived",
    ):
        assert part in " ".join(said.out.split())
    assert all(len(line) <= 110 for line in said.out.splitlines())


def test_json(desk: Desk) -> None:
    said = desk.type("advise", "--rest-unknown", "--json", "--l7", "yes")
    assert (said.status, said.err) == (0, "")
    (line,) = said.out.splitlines()
    value = json.loads(line)
    assert value["event"] == "Advice"
    assert value.keys() == {
        "event", "name", "title", "plugin", "reasons_for", "reasons_against", "needs", "alternatives", "better",
        "measured", "section", "answers", "fill_in", "remarks", "yaml",
    }  # fmt: skip
    assert value["section"]["network"]["plugin"] == value["plugin"] == "calico"
    assert value["needs"] == {
        "modules": ["vxlan"],
        "kernel": "3.10",
        "udp": [4789],
        "tcp": [],
        "protocols": [],
        "one_subnet": False,
    }
    (better,) = value["better"]
    assert (better["name"], better["nearest"]) == ("cilium", "Calico, VXLAN")
    assert {"date", "hardware", "title", "url", "rows", "modes", "columns", "own", "what"} < value[
        "measured"
    ][0].keys()
    assert value["answers"][5] == {"name": "l7", "value": "yes", "origin": "given"}
    indented = "\n".join(f"      {each}" for each in value["yaml"].splitlines())
    assert pasted(desk.folder, indented).network.calico.encapsulations == {"VXLAN"}


def test_nobody_is_there_to_be_asked(desk: Desk) -> None:
    said = desk.type("advise", "--policy", "yes", "--json")
    assert said.status == 3
    problems = said.error["problems"]
    options = sorted(f"--{each.name}" for each in advice_table().questions if each.name != "policy")
    assert [each["file"] for each in problems] == options
    assert problems[1]["hint"] == "yes, no or unknown"
    assert "--rest-unknown" in said.error["hint"]


WRONG = [
    (["--kernel", "six"], "--kernel: 'six' is no version of a kernel (such as 6.1)"),
    (["--kernel", "6.1,5.15"], "--kernel: '6.1,5.15' is no version of a kernel (such as 6.1)"),
    (["--nodes", "0"], "--nodes: 0 is less than 1 (1 to 100000)"),
    (["--nodes", "-3"], "--nodes: -3 is less than 1 (1 to 100000)"),
    (["--nodes", "200000"], "--nodes: 200000 is more than 100000 (1 to 100000)"),
    *(
        (
            ["--nodes", each],
            f"--nodes: '{each}' is no number of nodes (a whole number in digits alone, such as 3)",
        )
        for each in ("3.5", "1,000", "\u0663", "many", "")
    ),
    (["--nodes", "unknwon"], "--nodes: 'unknwon' is no number of nodes (did you mean 'unknown'?)"),
    (
        ["--modules", "vxlan,wiregard"],
        "--modules: 'wiregard' is none of the modules that matter (did you mean 'wireguard'?)",
    ),
    (["--modules", ""], "--modules: it names no module (some of vxlan,wireguard,ipip,tun, or none)"),
    (["no.yaml"], "no.yaml: there is no such inventory"),
    (["--l7", "yes", "--policy", "no"], "--l7, --policy: policies of layer 7 are NetworkPolicies"),
    (["--modules", "none,vxlan"], "--modules: none is said beside modules (leave none out, or the modules)"),
    (
        ["--team", "old"],
        "Is the team new to networks of clusters, or seasoned? (new, seasoned or unknown)",
    ),
]


@pytest.mark.parametrize(("words", "reason"), WRONG, ids=[" ".join(each[0]) for each in WRONG])
def test_wrong_answers(desk: Desk, words: list[str], reason: str) -> None:
    said = desk.type("advise", "--rest-unknown", *words)
    assert said.status == 3
    assert said.out == ""
    assert reason in said.err


SLIPS = [(each.name, choice) for each in advice_table().questions for choice in each.choices]


@pytest.mark.parametrize(("name", "meant"), SLIPS, ids=["-".join(each) for each in SLIPS])
def test_of_a_slip_in_a_word_the_nearest_is_told(desk: Desk, name: str, meant: str) -> None:
    slip = f"{meant}{meant[-1]}".upper()
    said = desk.type("advise", "--rest-unknown", f"--{name}", slip, "--nodes", "0")
    assert (said.status, said.out) == (3, "")
    assert f"--{name}: '{slip}' is no answer to: " in said.err
    assert f"(did you mean '{meant}'?)" in said.err
    assert "--nodes: 0 is less than 1" in said.err, "all at once"


def test_a_terminal_is_asked(tmp_path: Path) -> None:
    """What is not given is asked for, a wrong answer again; stdout has the advice alone."""
    ours, theirs = pty.openpty()
    start = "from provisioner.cli.main import main; main()"
    words = [sys.executable, "-c", start, "advise", "--json", *GIVEN]
    # nodes (twice), l7, encryption, kernel (nothing is typed), modules, team
    os.write(ours, b"many\n7\nno\nno\n\nvxlan,ipip\nnew\n")
    done = subprocess.run(
        words, stdin=theirs, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
    )
    os.close(theirs)
    os.close(ours)
    value = json.loads(done.stdout)
    answers = {each["name"]: (each["value"], each["origin"]) for each in value["answers"]}
    assert answers["nodes"] == ("7", "asked")
    assert answers["kernel"] == ("unknown", "unknown")
    assert answers["modules"] == ("vxlan,ipip", "asked")
    assert answers["team"] == ("new", "asked")
    assert answers["policy"] == ("yes", "given")
    assert "'many' is no number of nodes" in done.stderr
    assert "[new/seasoned/unknown]" in done.stderr
