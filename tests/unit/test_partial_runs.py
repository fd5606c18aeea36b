"""A run of a part begins nothing that only the rest could end: the shipped playbooks and the user's, compiled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from paperbundle import paper_bundle

from provisioner.action import load as loading
from provisioner.action.load import Loaded, Request, load
from provisioner.action.partial import check_joining
from provisioner.action.prepare import Prepared, compile_with
from provisioner.engine.events import silent
from provisioner.errors import InputError, ProvisionError
from provisioner.pki.cluster import new_state
from provisioner.playbook.facts import Facts
from provisioner.playbook.model import Selection

BASE = Path(__file__).parents[1] / "data" / "spec" / "base.yaml"
BARE = Facts("amd64", "6", "h", "debian", "12", 0.0, False, 4 << 20, {}, "")
STATE = new_state("lab")
THERE = {"cp1": replace(BARE, state=STATE.to_json(), mark=STATE.mark(), etcd="data")}
COPY = "- {name: mine, hosts: worker1, tasks: [{copy: {dest: /etc/x, content: 'x'}}]}\n"
SIGNS = """
- name: mine
  hosts: worker1
  tasks:
    - certificate: {dest: /etc/x, authority: kubernetes, common_name: x}
"""


@pytest.fixture(autouse=True)
def _on_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_bundle", lambda *_: paper_bundle(tmp_path))
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))


def compiled(loaded: Loaded, **known: Facts) -> Prepared:
    return compile_with(loaded, {host: known.get(host, BARE) for host in loaded.hosts}, silent)


def chosen(limit: str | None = None, *, tags: str = "", stages: str = "") -> Prepared:
    selection = Selection(frozenset(tags.split()), frozenset(stages.split()))
    return compiled(load(Request(BASE, limit=limit, selection=selection)), **THERE)


@pytest.mark.parametrize("limit", [None, "worker2:kube_control_plane[0]", "worker2:cp1"])
def test_a_run_with_the_first_control_plane_lets_nodes_in(limit: str | None) -> None:
    check_joining(chosen(limit).desired)


@pytest.mark.parametrize("tags", ["network", "kubelet join"])
def test_tags_that_have_all_of_a_join_or_nothing_of_it_are_good(tags: str) -> None:
    check_joining(chosen(tags=tags).desired)


@pytest.mark.parametrize(
    ("choice", "hosts"),
    [
        ({"limit": "worker2"}, "worker2"),
        ({"limit": "kube_node"}, "worker1:worker2"),
        ({"tags": "kubelet"}, "cp1:worker1:worker2"),
        ({"stages": "kubelet"}, "cp1:worker1:worker2"),
        ({"stages": "kubelet admission"}, "cp1:worker1:worker2"),
        ({"stages": "kubelet join"}, "cp1:worker1:worker2"),
        ({"limit": "worker2:cp1", "tags": "kubelet"}, "cp1:worker2"),
    ],
)
def test_a_join_that_nobody_would_end_is_refused_with_what_works(choice: dict[str, str], hosts: str) -> None:
    with pytest.raises(ProvisionError, match="would begin to join") as caught:
        check_joining(chosen(**choice).desired)
    limit = f"{hosts}:kube_control_plane[0]"
    assert f"--limit '{limit}'" in caught.value.hint
    check_joining(chosen(limit).desired)


@pytest.mark.parametrize("choice", [{"tags": "join"}, {"stages": "join"}, {"stages": "admission join"}])
def test_nobody_waits_for_a_kubelet_that_the_run_does_not_start(choice: dict[str, str]) -> None:
    with pytest.raises(ProvisionError, match="cp1, worker1, worker2 has not joined yet"):
        check_joining(chosen(**choice).desired)


def test_a_second_control_plane_that_has_not_joined_is_named(tmp_path: Path) -> None:
    text = BASE.read_text().replace(
        "        cp1: {ansible_host: 10.98.0.11}\n",
        "        cp1: {ansible_host: 10.98.0.11}\n        cp2: {ansible_host: 10.98.0.12}\n",
    )
    text = text.replace("      registry: {", "      endpoint: {host: 10.98.0.11}\n      registry: {")
    (tmp_path / "two.yaml").write_text(text)

    def of(limit: str) -> Prepared:
        return compiled(load(Request(tmp_path / "two.yaml", limit=limit)), **THERE)

    with pytest.raises(ProvisionError, match="cp2 has not joined yet") as caught:
        check_joining(of("worker2:kube_control_plane[0]").desired)
    assert "--limit 'cp2:kube_control_plane[0]'" in caught.value.hint
    check_joining(of("worker2:kube_control_plane").desired)


def book(folder: Path, text: str) -> Request:
    (folder / "book.yaml").write_text(text)
    return Request(BASE, folder / "book.yaml")


@pytest.mark.parametrize("text", [COPY, SIGNS])
def test_no_playbook_makes_a_cluster_whose_keys_it_does_not_save(tmp_path: Path, text: str) -> None:
    with pytest.raises(ProvisionError, match="does not save its keys"):
        compiled(load(book(tmp_path, text)))


def test_the_shipped_playbook_and_one_with_its_state_do(tmp_path: Path) -> None:
    assert compiled(load(Request(BASE))).fresh
    state = Path(__file__).parents[2] / "playbooks" / "state.yaml"
    assert compiled(load(book(tmp_path, f"- import_playbook: {state}\n{SIGNS}"))).fresh


def test_a_playbook_of_workers_knows_the_cluster_by_its_control_planes(tmp_path: Path) -> None:
    loaded = load(book(tmp_path, SIGNS))
    assert loaded.hosts == ("cp1", "worker1")
    prepared = compiled(loaded, **THERE)
    assert prepared.fresh is None
    assert [sorted(each.hosts) for each in prepared.desired] == [["worker1"]]


def test_a_playbook_for_no_host_is_told(tmp_path: Path) -> None:
    request = replace(book(tmp_path, COPY), limit="worker2")
    with pytest.raises(InputError, match="no stage for any of the hosts"):
        load(request)


def test_an_identity_that_a_host_has_is_not_looked_for_here() -> None:
    """A plan that was carried out is told from the hosts, not from keys that are kept no longer."""
    request = Request(BASE, identity=STATE.uuid)
    assert compiled(load(request), **THERE).fresh is None
    with pytest.raises(ProvisionError, match="are not on this machine"):
        compiled(load(request))


def test_a_plan_of_other_stages_has_other_inputs() -> None:
    made = [
        chosen(**choice).inputs
        for choice in ({}, {"stages": "network"}, {"stages": "addons"}, {"tags": "network"}, {"limit": "cp1"})
    ]
    assert len(set(made)) == len(made)
    assert made[1] == chosen(stages="network").inputs
