"""Who is asked and says no, and what else ends a command before it has changed anything, in words for people."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from localhost import LocalSession
from paperbundle import paper_bundle

from provisioner.action import load as loading
from provisioner.action.load import Request, load
from provisioner.action.podnetwork import check_images
from provisioner.action.prepare import compile_with
from provisioner.action.telling import unchanged
from provisioner.action.transition import Transition
from provisioner.engine.events import silent
from provisioner.errors import ConsentError, DeclinedError, ProvisionError
from provisioner.kube.cnicluster import read_cluster
from provisioner.kube.remainfind import FIND
from provisioner.kube.remainrules import RULES
from provisioner.network.record import NetworkRecord
from provisioner.playbook.facts import Facts
from provisioner.report.confirm import confirm
from provisioner.report.faults import tell
from provisioner.spec.model import Network

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
BARE = Facts("amd64", "6.1.0", "h", "debian", "12", 0.0, False, 4 << 20, {}, "")


def says(answer: bool | BaseException) -> Any:
    def asked(*_: object, **__: object) -> bool:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return asked


def test_a_no_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    report: Any = SimpleNamespace(pause=nullcontext)
    assert not confirm(["it ends"], report), "nobody can be asked: the refusal names the reasons"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(click, "confirm", says(True))
    assert confirm(["it ends"], report)
    monkeypatch.setattr(click, "confirm", says(False))
    with pytest.raises(DeclinedError) as caught, unchanged("provision again"):
        confirm(["it ends"], report)
    capsys.readouterr()
    tell(caught.value)
    assert capsys.readouterr().err == "not confirmed\nnothing was changed\n"
    tell(ConsentError("this needs your consent", "add --yes"))
    assert capsys.readouterr().err.startswith("error: this needs")


def test_who_interrupts_a_question_interrupts_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal tells that from a failure."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(click, "confirm", says(click.Abort()))
    report: Any = SimpleNamespace(pause=nullcontext)
    with pytest.raises(KeyboardInterrupt):
        confirm([], report)


def test_who_has_nothing_more_to_say_has_not_consented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))

    def ends(_: str) -> str:
        raise EOFError

    monkeypatch.setattr(click.termui, "visible_prompt_func", ends)
    report: Any = SimpleNamespace(pause=nullcontext)
    with pytest.raises(DeclinedError):
        confirm([], report)


def test_all_images_that_a_bundle_lacks_are_named_with_how_to_get_them(tmp_path: Path) -> None:
    bundle = paper_bundle(tmp_path)
    spec = load_spec_of(tmp_path)
    check_images(spec, bundle)
    bare = replace(bundle, contents=tuple(each for each in bundle.contents if not named(each, "example.org")))
    with pytest.raises(
        ProvisionError, match=r"lacks images of flannel: example.org/flannel:v1, example.org/plugin:v1"
    ):
        check_images(spec, bare)
    cilium = replace(spec, network=Network(plugin="cilium"))
    without = replace(bundle, contents=tuple(each for each in bundle.contents if not named(each, "cilium")))
    with pytest.raises(ProvisionError, match="lacks images of cilium") as caught:
        check_images(cilium, without)
    assert "bundle build` --with cilium" in caught.value.hint


def named(content: Any, part: str) -> bool:
    return part in content.name and hasattr(content, "tag")


def load_spec_of(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loading, "_bundle", lambda *_: paper_bundle(folder))
        return load(Request(LAB)).cluster


def test_while_two_networks_are_there_neither_is_a_stranger_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_bundle", lambda *_: paper_bundle(tmp_path))
    loaded = load(Request(LAB))
    beside = replace(loaded.cluster, network=Network(plugin="cilium"))
    facts = dict.fromkeys(loaded.hosts, BARE)
    for transition, names in (
        (None, set()),
        (Transition(NetworkRecord(), beside=beside), {"05-cilium.conflist"}),
    ):
        run = replace(loaded, transition=transition)
        prepared = compile_with(run, facts, silent, for_show=True)
        moved = [
            each
            for stage in prepared.desired
            for each in stage.hosts.get("worker1", ())
            if each.kind == "displaced_paths"
        ]
        assert [set(each.spec["but"]) for each in moved] == [names]


def test_where_there_is_no_cluster_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="there is no cluster, or none that this tool knows"):
        read_cluster(LocalSession(tmp_path, "dash"))


@pytest.mark.parametrize(
    ("rules", "there", "told"),
    [
        ("-P INPUT ACCEPT\n-P FORWARD ACCEPT\n", "filter", ["ip filter"]),
        ("-P INPUT DROP\n", "filter", []),
        ("-P INPUT ACCEPT\n-N MINE\n", "filter", []),
        ("-P INPUT ACCEPT\n", "none", []),
    ],
)
def test_a_table_without_rules_is_told(tmp_path: Path, rules: str, there: str, told: list[str]) -> None:
    programs = {
        "iptables-nft": f'[ "$3" = filter ] && [ "$4" = -S ] && cat "{tmp_path}/rules"',
        "nft": f'[ "$*" = "list table ip {there}" ]',
    }
    (tmp_path / "rules").write_text(rules)
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    values = "chains=none comments=none networks=none never=none ports= gone= nets= kept_links=none\n"
    script = f"{values}{FIND}{RULES}each_table look_at_table\n"
    environment = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env=environment)
    lines = [line.split("\t") for line in done.stdout.splitlines() if "and empty" in line]
    assert [line[2] for line in lines] == told
