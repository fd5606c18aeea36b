"""What is said, and with which exit code, when what was typed cannot be done. No host is reached by any of it."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioner.bundle import catalogue, publish, write
from provisioner.bundle.store import Store
from provisioner.cli.main import main

SPEC = Path(__file__).parents[1] / "data" / "spec" / "base.yaml"
PLAYBOOK = "- {name: first, hosts: all, tags: [alpha], tasks: [{file: {path: /tmp/x, state: directory}}]}\n"


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str

    @property
    def error(self) -> dict[str, Any]:
        """The one JSON line of an error."""
        (line,) = self.out.splitlines()
        value: dict[str, Any] = json.loads(line)
        assert value["event"] == "Error"
        assert value["exit_code"] == self.status
        return value


class Desk:
    """A folder to type commands in, with caches and state of its own."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._patch, self._capture = monkeypatch, capsys
        for name in ("CACHE", "STATE", "CONFIG"):
            monkeypatch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
        monkeypatch.delenv("PROVISION_INVENTORY", raising=False)
        monkeypatch.chdir(folder)

    def type(self, *words: str) -> Said:
        self._patch.setattr(sys, "argv", ["provision", *words])
        with pytest.raises(SystemExit) as left:
            main()
        captured = self._capture.readouterr()
        assert isinstance(left.value.code, int)
        return Said(left.value.code, captured.out, captured.err)

    def spec(self, **changes: str) -> str:
        """An inventory with the base's cluster, and changed values in it."""
        text = SPEC.read_text()
        for old, new in changes.items():
            text = (
                text.replace(f"{old}: ", f"{new}\n      {old}: ", 1)
                if old == "name"
                else text.replace(old, new)
            )
        (self.folder / "i.yaml").write_text(text)
        return "i.yaml"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """One with a single component."""
    store = Store(tmp_path / "store")
    (component,) = (
        each for each in catalogue.load() if each.name == "kube-apiserver" and "amd64" in each.platform
    )
    with store.workspace() as workspace:
        (workspace / "file").write_bytes(b"program")
        part = publish.artifact(component, workspace / "file", "module", store)
    write.write_bundle([part], store, tmp_path / "bundle")
    return tmp_path / "bundle"


MISUSE = [
    (["plan", "--jsn"], "No such option '--jsn'. Did you mean '--json'?"),
    (["pln"], "No such command 'pln'. Did you mean 'plan'?"),
    (["migrate", "x", "--to", "calcio"], "Did you mean 'calico'?"),
    (["plan", "a", "b"], "unexpected extra argument (b)"),
    (["exec", "a"], "Missing argument 'PATTERN'"),
    (["render", "--facts"], "requires an argument"),
    (["plan", "--tags", ","], "it names no tag"),
]


@pytest.mark.parametrize(("words", "reason"), MISUSE, ids=[" ".join(each[0]) for each in MISUSE])
def test_misuse_is_wrong_input(desk: Desk, words: list[str], reason: str) -> None:
    said = desk.type(*words)
    assert said.status == 3
    assert any(line.startswith("error: ") and reason in line for line in said.err.splitlines()), said.err
    in_json = desk.type(words[0], "--json", *words[1:]) if words != ["pln"] else desk.type(*words, "--json")
    assert in_json.status == 3
    assert in_json.err == ""
    assert reason in in_json.error["reason"]
    assert [each["reason"] for each in in_json.error["problems"]] == [in_json.error["reason"]]


def test_words_for_a_host_are_not_ours(desk: Desk) -> None:
    said = desk.type("exec", "none.yaml", "all", "--", "kubectl", "--json")
    assert (said.status, said.out) == (3, "")
    assert "there is no such inventory" in said.err


CHOICES = [
    (["render", "i.yaml", "kubelt"], ["COMPONENT: the playbook has no 'kubelt' (did you mean 'kubelet'?)"]),
    (
        ["render", "i.yaml", "--limit", "wroker1", "--stage", "chek", "--tags", "etdc"],
        [
            "--limit: no host or group is named 'wroker1' (did you mean 'worker1'?)",
            "--stage: the playbook has no 'chek' (did you mean 'check'?)",
            "--tags: the playbook has no 'etdc' (did you mean 'etcd'?)",
            "3 problems",
        ],
    ),
    (["plan", "i.yaml", "--limit", ""], ["--limit: '' is not a host pattern"]),
    (["plan", "i.yml"], ["i.yml: there is no such inventory (did you mean 'i.yaml'?)"]),
]


@pytest.mark.parametrize(("words", "lines"), CHOICES, ids=[" ".join(each[0]) for each in CHOICES])
def test_a_choice_is_checked_before_the_bundle(desk: Desk, words: list[str], lines: list[str]) -> None:
    desk.spec()
    said = desk.type(*words)
    assert (said.status, said.err.splitlines()) == (3, lines)


@pytest.mark.parametrize("command", ["plan", "apply", "render"])
def test_a_version_that_the_bundle_lacks(desk: Desk, bundle: Path, command: str) -> None:
    said = desk.type(command, desk.spec(**{"1.33.13": "1.33.12", "name": f"bundle: {bundle}"}), "--json")
    assert said.status == 3
    (problem,) = said.error["problems"]
    assert (problem["line"], problem["column"]) == (7, 29)
    assert "has no Kubernetes 1.33.12" in problem["reason"]
    assert problem["hint"] == "did you mean '1.33.13'?"


def test_a_bundle_that_is_not_there(desk: Desk, bundle: Path) -> None:
    said = desk.type("plan", desk.spec(name="bundle: ./bundel"))
    assert said.status == 3
    assert said.err == (
        f"i.yaml:5:15: bundle: there is no bundle at {desk.folder}/bundel (did you mean '{bundle}'?)\n"
    )


def test_no_bundle_at_all_is_no_fault_of_the_spec(desk: Desk) -> None:
    said = desk.type("plan", desk.spec())
    assert said.status == 1
    assert "provision bundle build" in said.err


def test_a_component_that_is_none(desk: Desk) -> None:
    said = desk.type("bundle", "build", "etdc")
    assert (said.status, said.err) == (3, "COMPONENT: no component is named 'etdc' (did you mean 'etcd'?)\n")


PLAN = {"provision_plan": 1, "inventory": "/i.yaml", "inputs": "0", "selection": {}, "changes": []}
PLANS = [
    ("cut off", json.dumps(PLAN, indent=1)[:-20], "p:5:15: this plan is cut off or garbled"),
    ("no text", json.dumps(PLAN).encode() + b"\xff", "p: this plan is cut off or garbled"),
    ("deep", json.dumps(PLAN)[:-1] + ',"x":' + "[" * 100_000, "p: this plan is cut off or garbled"),
    ("no inputs", json.dumps({key: PLAN[key] for key in PLAN if key != "inputs"}), "p: this plan is garbled"),
    ("a number for inputs", json.dumps({**PLAN, "inputs": 7}), "p: this plan is garbled"),
    ("a list for a limit", json.dumps({**PLAN, "selection": {"limit": []}}), "p: this plan is garbled"),
    ("changes of texts", json.dumps({**PLAN, "changes": ["x"]}), "p: this plan is garbled"),
    ("a null for a digest", json.dumps({**PLAN, "changes": [{"mac": None}]}), "p: this plan is garbled"),
    ("a later format", json.dumps({**PLAN, "provision_plan": 2}), "p: plan format 2 is not known"),
]


@pytest.mark.parametrize(("name", "content", "words"), PLANS, ids=[each[0] for each in PLANS])
def test_a_plan_that_is_none(desk: Desk, name: str, content: str | bytes, words: str) -> None:
    (desk.folder / "p").write_bytes(content.encode() if isinstance(content, str) else content)
    said = desk.type("apply", "p")
    assert (said.status, said.err) == (3, f"{words} (make a new plan with `provision plan -o FILE`)\n"), name


@pytest.mark.parametrize("command", ["plan", "verify", "render", "trust"])
def test_a_plan_is_no_inventory(desk: Desk, command: str) -> None:
    (desk.folder / "p").write_text(json.dumps(PLAN))
    said = desk.type(command, "p")
    assert (said.status, said.err) == (3, "p: this is a plan, not an inventory (provision apply p)\n")


@pytest.mark.parametrize("more", [["--limit", "a"], ["--tags", "a"], ["--stage", "a"], ["--playbook", "a"]])
def test_a_plan_is_carried_out_whole(desk: Desk, more: list[str]) -> None:
    (desk.folder / "p").write_text(json.dumps(PLAN))
    said = desk.type("apply", "p", *more)
    assert said.status == 3
    assert "cannot be limited further" in said.err


@pytest.fixture
def closed() -> Iterator[tuple[int, ...]]:
    """Ports of loopback that are taken, and at which nobody listens."""
    sockets = [socket.socket() for _ in range(3)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    yield tuple(each.getsockname()[1] for each in sockets)
    for each in sockets:
        each.close()


@pytest.mark.parametrize("command", ["plan", "apply", "verify", "trust", "render"])
def test_all_hosts_that_are_not_reached_are_named(desk: Desk, closed: tuple[int, ...], command: str) -> None:
    hosts = "".join(f"    h{port}: {{ansible_host: 127.0.0.1, ansible_port: {port}}}\n" for port in closed)
    (desk.folder / "i.yaml").write_text(f"all:\n  hosts:\n{hosts}")
    (desk.folder / "play.yaml").write_text(PLAYBOOK)
    said = desk.type(command, "i.yaml", *([] if command == "trust" else ["--playbook", "play.yaml"]))
    assert said.status == 4, said
    for port in closed:
        assert said.err.count(f"h{port}: ") == 1, said.err
    assert said.err.count("hint: ") == 1


def test_hosts_that_no_stage_names(desk: Desk) -> None:
    (desk.folder / "i.yaml").write_text("all: {hosts: {a: , b: }}\n")
    (desk.folder / "play.yaml").write_text(PLAYBOOK.replace("all", "a"))
    said = desk.type("apply", "i.yaml", "--playbook", "play.yaml", "--limit", "b")
    assert (said.status, said.err) == (3, "--limit: the playbook has no stage for any of the hosts\n")


@pytest.mark.parametrize("name", ["../../etc", "a/b", "''", "[a]", "0123"])
def test_a_lab_s_name_is_no_path(desk: Desk, name: str) -> None:
    """Keys and known hosts are taken from the folder of that name."""
    (desk.folder / "i.yaml").write_text(f"all: {{vars: {{lab: {{name: {name}}}}}, hosts: {{a: }}}}\n")
    said = desk.type("trust", "i.yaml")
    assert said.status == 3
    assert said.err.startswith("i.yaml:1:26: lab.name: ")


def test_help_says_which_command_must_be_given_the_inventory(desk: Desk) -> None:
    (desk.folder / "inventory.yaml").write_text("all: {hosts: {a: }}\n")
    assert "Missing argument" in desk.type("exec").err
    assert "`migrate`, `remove`, `reset`, `exec` and `advise` must be given it" in " ".join(
        desk.type("--help").out.split()
    )
