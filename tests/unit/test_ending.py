"""A cluster that ends: which one it was, what outlasts it and what hosts remember of that."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from paperbundle import paper_bundle

from provisioner.action import load as loading
from provisioner.action.carried import Carried
from provisioner.action.clearing import packages_of, pod_cidrs_of, stores, why_left
from provisioner.action.keeping import IMAGES, STORED, Keep, check_keep, images_of, kept_on
from provisioner.action.load import Loaded, Request, load
from provisioner.action.prepare import Memory, Prepared, compile_with
from provisioner.action.reset import check_own, check_remembered
from provisioner.action.transition import last_record
from provisioner.cli.reset import command
from provisioner.engine.events import silent
from provisioner.engine.plan import Desired
from provisioner.errors import InputError, ProvisionError
from provisioner.kube.inuse import parse_users
from provisioner.kube.lookagain import parse_look
from provisioner.network.record import Migration, NetworkRecord
from provisioner.pki.cluster import marked, new_state
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Owned, Present, Resource
from provisioner.resources.owned import KEPT, kept_lines, parse_owned, taken_over
from provisioner.resources.package import brought
from provisioner.spec.model import Existing

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
OLD, NEW = "site of old", "site of new"
MARK = "file:/var/lib/provision/cluster.json"


def of(playbook: str, kind: str, name: str, **before: str) -> Owned:
    return Owned(kind, name, frozenset({playbook}), {"sha256": "1"}, before)


def named(*records: Owned) -> dict[str, Owned]:
    return {each.id: each for each in records}


KNOWN = named(
    of(OLD, "file", "/var/lib/provision/cluster.json"),
    of(OLD, "file", "/opt/kubernetes"),
    of(OLD, "file", "/opt/kubernetes/bin"),
    of(OLD, "file", "/opt/kubernetes/bin/api-servers"),
    of(OLD, "artifact", "/opt/kubernetes/bin/kubelet"),
    of(OLD, "unarchive", "/opt/cni/bin/cni-plugins"),
    of(OLD, "file", "/opt/cni/bin"),
    of(OLD, "file", "/etc/docker/registry/config.yml", sha256="0"),
    of(OLD, "systemd", "docker-registry.service"),
    of(OLD, "systemd", "kubelet.service"),
    of("/a/book.yaml", "file", "/etc/others"),
)


def as_lines(known: dict[str, Owned]) -> str:
    record = {"run": "r"}
    return "".join(
        json.dumps({**record, "kind": each.kind, "name": each.name, "playbook": playbook, "wanted": dict(each.wanted),
                    "before": dict(each.before)}) + "\n"
        for each in known.values() for playbook in each.playbooks
    )  # fmt: skip


def test_what_is_kept_is_nobodys_until_the_next_cluster_takes_it_over() -> None:
    kept = {"artifact:/opt/kubernetes/bin/kubelet", "file:/etc/docker/registry/config.yml"}
    text = as_lines(KNOWN) + "\n".join(kept_lines(KNOWN, kept, OLD, "run"))
    known = parse_owned(text)
    assert known.keys() == kept | {"file:/etc/others"}
    assert {rid: known[rid].playbooks for rid in kept} == dict.fromkeys(kept, frozenset({KEPT}))
    assert known["file:/etc/docker/registry/config.yml"].before == {"sha256": "0"}
    mine = taken_over(known, NEW)
    assert all(mine[rid].playbooks == {NEW} for rid in kept)
    assert mine["file:/etc/others"].playbooks == {"/a/book.yaml"}
    # Whatever the next cluster writes down of it, it is that one's alone; another playbook takes nothing over.
    changed = {rid: of(NEW, *rid.split(":", 1)) for rid in kept}
    assert all(parse_owned(f"{text}\n{as_lines(changed)}")[rid].playbooks == {NEW} for rid in kept)
    gone = (
        f'{text}\n{{"kind":"artifact","name":"/opt/kubernetes/bin/kubelet","playbook":"{NEW}","gone":true}}'
    )
    assert "artifact:/opt/kubernetes/bin/kubelet" not in parse_owned(gone)
    beside = as_lines(named(of("/a/book.yaml", "artifact", "/opt/kubernetes/bin/kubelet")))
    both = parse_owned(f"{text}\n{beside}")["artifact:/opt/kubernetes/bin/kubelet"].playbooks
    assert both == {KEPT, "/a/book.yaml"}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    monkeypatch.setattr(loading, "_bundle", lambda *_: paper_bundle(tmp_path))
    return load(Request(LAB))


def kept(loaded: Loaded, host: str, keep: Keep) -> set[str]:
    stage = Desired("registry", {host: (
        Resource("file", "/etc/docker/registry/config.yml", Present()),
        Resource("file", "/var/lib/provision/cluster.json", Present()),
        Resource("systemd", "docker-registry.service", Present()),
    )})  # fmt: skip
    prepared = Prepared(loaded, {}, {}, (stage,), "", Memory(OLD, {}), None)
    return {*kept_on(prepared, host, KNOWN, keep)}


REGISTRYS = {"file:/etc/docker/registry/config.yml", "systemd:docker-registry.service"}
PROGRAMS = {
    "artifact:/opt/kubernetes/bin/kubelet",
    "unarchive:/opt/cni/bin/cni-plugins",
    "file:/opt/kubernetes",
    "file:/opt/kubernetes/bin",
    "file:/opt/cni/bin",
}


def test_a_registry_alone_on_its_host_keeps_all_but_the_mark(lab: Loaded) -> None:
    assert kept(lab, "registry1", Keep(registry=True)) == KNOWN.keys() - {MARK}
    assert kept(lab, "registry1", Keep()) == set()
    assert kept(lab, "worker1", Keep(registry=True)) == set()
    assert kept(lab, "who leaves the inventory", Keep()) == set()


def test_a_registry_beside_other_roles_keeps_its_own(tmp_path: Path, lab: Loaded) -> None:
    text = LAB.read_text().replace("        worker1:\n", "        registry1:\n        worker1:\n")
    both = tmp_path / "both.yaml"
    both.write_text(text)
    loaded = load(Request(both))
    assert kept(loaded, "registry1", Keep(registry=True)) == REGISTRYS
    assert kept(loaded, "registry1", Keep(registry=True, bundle=True)) == REGISTRYS | PROGRAMS


def test_the_bundle_is_programs_with_their_folders(lab: Loaded) -> None:
    assert kept(lab, "worker1", Keep(bundle=True)) == PROGRAMS


def test_a_registry_that_is_not_there_cannot_be_kept(tmp_path: Path, lab: Loaded) -> None:
    check_keep(lab, Keep(registry=True))
    without = tmp_path / "without.yaml"
    without.write_text(LAB.read_text().replace("    registry:\n      hosts:", "    mirror:\n      hosts:"))
    with pytest.raises(InputError, match="there is none to keep"):
        check_keep(load(Request(without)), Keep(registry=True))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--keep", "registry,bundel"), "'bundel' is none of registry, bundle. Did you mean 'bundle'?"),
        (("--keep", "bundle", "--packages"), "--keep bundle keeps packages"),
    ],
)
def test_what_is_asked_wrongly(words: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(command, [str(LAB), *words])
    assert done.exit_code == 2
    assert said in done.output


def test_images_are_remembered_by_nobody_but_reset() -> None:
    record = images_of(OLD)
    lines = kept_lines({IMAGES: record}, {IMAGES}, OLD, "run")
    assert parse_owned("\n".join(lines))[IMAGES].playbooks == {KEPT}


def test_a_cluster_whose_keys_are_gone_already_can_be_taken_down() -> None:
    """A run that was stopped had cleared the control planes first."""
    left = {"worker1": KNOWN}
    assert Carried({}, {"worker1": marked("lab", "old")}).ending("lab", {}).uuid == "old"
    assert Carried({}, {}).ending("lab", left).uuid == "old"
    state = new_state("lab")
    assert Carried({"cp1": state.to_json()}, {"worker1": state.mark()}).ending("lab", {}) == state
    with pytest.raises(ProvisionError, match="different clusters"):
        Carried({}, {"cp1": marked("lab", "another"), "worker1": marked("lab", "old")}).ending("lab", {})
    # What a host without a mark remembers is of one that has ended there.
    assert Carried({}, {"cp1": marked("lab", "another")}).ending("lab", left).uuid == "another"


def test_what_a_reset_that_was_killed_has_left_remembered_is_the_next_cluster_s() -> None:
    """Packages and folders were, and the mark was not any more."""
    kept = named(
        of(OLD, "package", "a"), of(OLD, "file", "/opt/kubernetes"), of("/a/book.yaml", "package", "a")
    )
    assert {each.playbooks for each in taken_over(kept, NEW).values()} >= {frozenset({NEW})}
    text = as_lines(named(of(OLD, "package", "a"))) + as_lines(named(of(NEW, "package", "a")))
    assert parse_owned(text)["package:a"].playbooks == {NEW}
    gone = f'{{"kind":"package","name":"a","playbook":"{NEW}","gone":true}}'
    assert not parse_owned(f"{as_lines(named(of(OLD, 'package', 'a')))}{gone}")
    beside = as_lines(named(of("/a/book.yaml", "package", "a"))) + as_lines(named(of(OLD, "package", "a")))
    assert parse_owned(f"{beside}{gone}")["package:a"].playbooks == {"/a/book.yaml"}


def test_images_of_a_registry_are_ours_only_where_it_came_with_us() -> None:
    unit = "docker-registry.service"
    assert stores(named(of(OLD, "systemd", unit)), BARE, OLD)
    assert not stores(named(of("/a/book.yaml", "systemd", unit)), BARE, OLD)
    before = Owned("systemd", unit, frozenset({OLD}), {}, {"active": True, "enabled": True})
    assert not stores(named(before), BARE, OLD)
    left = {STORED: images_of(OLD, STORED)}
    assert stores(left, BARE, OLD), "one that an earlier reset has left, whoever has the group by now"
    assert not stores({}, BARE, OLD)


def test_one_damaged_copy_hides_no_other() -> None:
    good = replace(BARE, network_record=NetworkRecord(now=OTHER).to_json())
    assert last_record({"cp1": replace(BARE, network_record="{"), "cp2": good, "worker1": BARE}).now == OTHER
    assert last_record({"cp1": replace(BARE, network_record="{")}) == NetworkRecord()


def test_who_does_not_know_what_is_the_cluster_s_takes_nothing_away(lab: Loaded) -> None:
    state = new_state("lab")
    facts = dict.fromkeys(lab.hosts, BARE) | {"cp1": replace(BARE, state=state.to_json(), mark=state.mark())}
    prepared = Prepared(lab, facts, {}, (), "", Memory(OLD, {"cp1": {}}), None)
    with pytest.raises(ProvisionError, match="cp1: in the cluster, and /var/lib/provision/owned is gone"):
        check_remembered(prepared)
    users = named(of("/a/book.yaml", "file", "/etc/others"))
    with pytest.raises(ProvisionError, match="is gone"):
        check_remembered(replace(prepared, memory=Memory(OLD, {"cp1": users})))
    check_remembered(replace(prepared, memory=Memory(OLD, {"cp1": KNOWN})))
    check_remembered(replace(prepared, facts=dict.fromkeys(lab.hosts, BARE)))


def test_a_cluster_of_others_is_not_taken_down(lab: Loaded) -> None:
    check_own(lab)
    assert lab.spec is not None
    with pytest.raises(InputError, match="built by others"):
        check_own(replace(lab, spec=replace(lab.spec, existing=Existing("opt-kubernetes"))))


BARE = Facts("amd64", "6", "h", "debian", "12", 0.0, False, 4 << 20, {}, "")
OTHER = {"plugin": "calico", "calico": {"pools": [{"name": "p", "cidr": "10.99.0.0/16"}]}}


def test_a_cluster_goes_as_it_is(lab: Loaded) -> None:
    """Whatever a run that was stopped has left of it: no data of etcd, another network than the inventory's, one that
    was on its way back."""
    state = replace(new_state("lab"), fixed={"plugin": "calico", "pod_cidrs": ["10.244.0.0/16"]})
    site = f"site of {state.uuid}"
    ran = as_lines(named(of(site, "systemd", "etcd.service"), of(site, "systemd", "kube-apiserver.service"),
                         of(site, "file", "/etc/systemd/system/kube-apiserver.service")))  # fmt: skip
    begun = Migration("m", OTHER, {"plugin": "flannel"}, "node-by-node", back=True)
    for record in (NetworkRecord(now=OTHER), NetworkRecord(now={}, migration=begun)):
        plane = replace(BARE, state=state.to_json(), owned=ran, network_record=record.to_json())
        facts = {**dict.fromkeys(lab.hosts, replace(BARE, mark=state.mark())), "cp1": plane}
        for ending in (False, True):
            with nullcontext() if ending else pytest.raises(ProvisionError):
                prepared = compile_with(lab, facts, silent, for_show=True, ending=ending)
        assert prepared.memory.playbook == site
        assert {*pod_cidrs_of(lab, record.at_work)} == {"10.244.0.0/16", "10.99.0.0/16"}


def test_packages_that_were_not_there_before() -> None:
    several = Owned("package", "a, b, c", frozenset({OLD}), {}, {"a": "installed", "b": "not installed"})
    assert brought(several) == ("b", "c")
    assert brought(Owned("package", "a", frozenset({OLD}), {}, {})) == ("a",)
    shared = Owned("package", "d", frozenset({OLD, "/a/book.yaml"}), {}, {})
    assert packages_of(named(several, shared), OLD) == ("b", "c"), "another playbook wants it"


def test_the_second_look_tells_what_is_left_from_what_stays() -> None:
    seen = parse_look("left\tthe mount /var/lib/kubelet/a b\t\nstays\ttunl0\tthe kernel makes it\nnoise\n")
    assert seen.left == ("the mount /var/lib/kubelet/a b",)
    assert seen.stays == {"tunl0": "the kernel makes it"}
    chains = "".join(f"there\tchain\tiptables-nft nat KUBE-SVC-{n}\t\n" for n in range(2000))
    seen = parse_look(f"{chains}there\tlink\tcni0\t\nleft\tfile\t/opt/cni/bin/portmap\tothers use it\n")
    assert seen.left == (*(f"the chain iptables-nft nat KUBE-SVC-{n}" for n in range(3)), "the link cni0")
    assert seen.stays == {}
    empty = "iptables' own, and empty"
    seen = parse_look(
        f"left\ttable\tip raw\t{empty}\nleft\ttable\tip6 nat\t{empty}\nleft\tfile\t/x\twritten\n"
    )
    assert seen.stays == {"the tables ip raw, ip6 nat": empty}
    assert seen.left == ()


def test_what_was_in_the_way_is_told_from_originals_of_what_is_kept() -> None:
    ids = {"file:/etc/containerd/config.toml"}
    aside = "/var/lib/provision/displaced"
    assert why_left("/opt/cni", ids) == "others have put something there"
    assert why_left(f"{aside}/etc/containerd/config.toml", ids) == "the original of what is kept"
    assert why_left(f"{aside}/etc/cni/net.d/05-other.conf", ids) == "others' own, which was in the way"


def test_what_others_make_use_of() -> None:
    said = "containerd docker\ncontainerd containers of ci\nforwarding4 docker0\nforwarding4 virbr0\nnoise\n"
    assert parse_users(said) == {
        "systemd:containerd.service": ("containerd", "docker, containers of ci"),
        "sysctl:net.ipv4.ip_forward": ("net.ipv4.ip_forward", "docker0, virbr0"),
    }
