"""Every script that goes to a host passes shellcheck: all kinds' probes and changes, gates, locks, the frame."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from bgpcluster import BGPCluster

from provisioner.action.betweenround import parties_of
from provisioner.action.flows import Packet
from provisioner.action.kinds import base_modules, kinds_of
from provisioner.action.virtualrouter import VirtualRouter
from provisioner.bundle.kind import ArtifactKind
from provisioner.bundle.layout import BlobFile, Image
from provisioner.bundle.preloaded import PreloadedImageKind
from provisioner.engine.diff import diff
from provisioner.errors import ProvisionError
from provisioner.failover import faults, watching
from provisioner.inventory.aliases import ROLES
from provisioner.kube import (
    asking,
    bridgeroutes,
    gates,
    halt,
    leader,
    leaving,
    members,
    oldnetwork,
    ownobjects,
    remains,
    runtimeimages,
    switch,
    traffic,
)
from provisioner.kube.access import group_is_bound
from provisioner.kube.apicertificate import ApiCertificateKind
from provisioner.kube.bench_objects import Placement
from provisioner.kube.bench_pods import BenchPods
from provisioner.kube.bench_tools import latency_command, throughput_command
from provisioner.kube.bgp import CalicoMeshKind, CalicoReflectorsKind
from provisioner.kube.bindings import no_anonymous
from provisioner.kube.cnicluster import Pod, look_script
from provisioner.kube.cnimend import (
    available_script,
    delete_pods_script,
    give_back_script,
    readdress_script,
    tear_down_script,
)
from provisioner.kube.cniread import Complaint, Lease
from provisioner.kube.cniscript import read_script
from provisioner.kube.endpointnodes import nodes_ready
from provisioner.kube.etcd import EtcdMemberKind, EtcdSeedKind
from provisioner.kube.etcdctl import etcdctl
from provisioner.kube.exchange import Exchange
from provisioner.kube.exchange_client import CLIENT
from provisioner.kube.healthscript import health_script
from provisioner.kube.held import held_script, images_script
from provisioner.kube.inuse import users_script
from provisioner.kube.join import NodeJoinedKind
from provisioner.kube.kubeconfig import Kubeconfig
from provisioner.kube.kubeconfigserver import HostKubeconfigs, KubeconfigServerKind
from provisioner.kube.lookagain import look_script as look_again_script
from provisioner.kube.manifest import ManifestKind
from provisioner.kube.marks import NodeMarksKind
from provisioner.kube.token import BootstrapKubeconfigKind, BootstrapToken, BootstrapTokenKind
from provisioner.pki.authority import new_authority
from provisioner.pki.certificate import CertificateKind
from provisioner.pki.expiry import READ_CERTIFICATES
from provisioner.playbook.compile import Compiler
from provisioner.playbook.factscript import facts_script
from provisioner.playbook.load import load_playbook
from provisioner.playbook.render import render_file
from provisioner.registry.pulled import PulledImageKind
from provisioner.remote import frame, lock, sudo
from provisioner.remote.outcome import Result
from provisioner.resources.model import (
    Absent,
    Change,
    ConductedKind,
    HostKind,
    Lasting,
    Owned,
    Present,
    Resource,
    ScriptedKind,
    Showing,
    State,
    Unknown,
)
from provisioner.resources.packagefiles import PackageFile, install_script
from provisioner.resources.packageremoval import removal_script
from provisioner.resources.seboolean import SebooleanKind
from provisioner.shell import worklock
from provisioner.shell.assemble import StepRecord, change_script, probe_script
from provisioner.shell.script import Blob, Script
from provisioner.spec.load import load_cluster

pytestmark = pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")

MEANT = {
    # The prelude lies on the host only; what is quoted is meant as it stands; a list may have one item; a file that is
    # not there reads as an empty one; `partial` is the prelude's.
    "kinds": ["SC1091", "SC2016", "SC2043", "SC2002", "SC2034"],
    # What is left is found by a set of functions; no script calls all.
    "gates": ["SC2016", "SC2317"],
    # The frame stands in single quotes for any login shell, so none may occur in it.
    "transport": ["SC2064", "SC1091"],
    "failover": [],
    # Functions are called by the name that another one is given.
    "repairs": ["SC2317"],
}
ROOT = Path(__file__).parents[2]
CRD = "CustomResourceDefinition"
NASTY = "/opt/a b/it's $HOME *"
OBJECTS = [
    {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "a.b.c"},
    },
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}},
]
MEMBERS = [{"name": "a", "address": "10.0.0.2"}, {"name": "b", "address": "10.0.0.3"}]
AGENTS = {
    "nodes": ["a", "b c"],
    "daemons": "DaemonSet kube-system/calico-node",
    "operated": True,
    "families": ["IPv4", "IPv6"],
}
TASKS: list[dict[str, Any]] = [
    {"file": {"path": NASTY, "state": "directory"}},
    {"file": {"path": f"{NASTY}1", "state": "link", "src": "-x"}},
    {"file": {"path": f"{NASTY}2"}},
    {"file": {"path": f"{NASTY}3", "state": "absent"}},
    {"copy": {"dest": f"{NASTY}4", "content": "x"}},
    {"copy": {"dest": f"{NASTY}5", "src": "{{ large }}"}},
    {"unarchive": {"src": "{{ archive }}", "dest": NASTY}},
    {"systemd_service": {"name": "a", "inputs": [NASTY, "/opt/bin/a"]}},
    {"systemd_service": {"name": "b@c.timer", "state": "stopped"}},
    {"sysctl": {"values": {"net.ipv4.ip_forward": 1, "kernel.core_pattern": "|/bin/x '%p' $y"}}},
    {"modprobe": {"name": ["overlay", "br_netfilter"]}},
    {"seboolean": {"name": "container_use_cephfs", "state": True}},
    {"seboolean": {"name": "b", "state": False, "persistent": False}},
    {
        "ethtool": {
            "links": [
                {"link": "eth0.5", "channels": {"combined": 4}, "rings": {"rx-mini": 1}},
                {"link": "flannel-v6.1", "offloads": {"tx-checksum-ip-generic": False}},
            ]
        }
    },
    {"user": {"name": "a", "groups": ["b", "c"], "home": NASTY, "shell": "/bin/sh", "system": True}},
    {"user": {"name": "b", "state": "absent"}},
    {"package": {"name": ["a", "b+c"]}},
    {"package": {"name": "d", "state": "absent"}},
    {"package": {"name": ["e", "f"], "policy_rc_d": 101}},
    {"command": {"cmd": "a 'b' $c | d", "creates": NASTY, "unless": 'test "$x"', "chdir": NASTY}},
    {"displaced_paths": {"folder": f"{NASTY}", "first": "b$(x)", "suffixes": [".conf"]}},
    {"migrated_mirrors": {"config": NASTY, "folder": f"{NASTY}2", "but": ["a"]}},
    {"absent_paths": {"paths": [f"{NASTY}[!a-c]?/x", "/opt/x y/*"]}},
    {"certificate": {"dest": NASTY, "authority": "ca", "common_name": "a", "owner": "b"}},
    {
        "kubeconfig": {
            "dest": f"{NASTY}6",
            "server": "https://a",
            "authority": "/a",
            "user": "b",
            "certificate": "/c",
        }
    },
    {"preloaded_image": {"reference": "a:1"}},
    {"pulled_image": {"image": f"r:5000/a@sha256:{'0' * 64}"}},
    {"manifest": {"name": "m", "objects": OBJECTS}},
    {"node_joined": {"name": "n", "labels": {"a/b": "c"}}},
    *(
        {"etcd_seed": {"name": name, "address": "10.0.0.2", "members": MEMBERS, "founding": name == "a"}}
        for name in "ab"
    ),
    {"etcd_member": {"name": "a", "address": "10.0.0.2", "members": MEMBERS}},
    *(
        {"endpoint_switch": {"step": step, "files": [NASTY, "/a"], "units": ["b", "c"]}}
        for step in switch.STEPS
    ),
    {"calico_reflectors": {**AGENTS, "reflectors": ["a"], "cluster_id": "244.0.0.1"}},
    {"calico_mesh": {**AGENTS, "mesh": False}},
    {"bootstrap_token": {}},
    {"bootstrap_kubeconfig": {"dest": NASTY, "server": "https://a", "authority": "/a"}},
    {"api_certificate": {"sans": ["a"]}},
    {"kubeconfig_server": {"server": "https://b"}},
]


_TEXT = "clusters: [{cluster: {server: 'https://a'}}]"
KUBECONFIGS = HostKubeconfigs(
    {f"{NASTY}7": _TEXT, f"{NASTY}8": _TEXT}, {"https://a": "https://b"}, "n", f"{NASTY}7", f"{NASTY}8"
)


class Recorder:
    """Keeps the scripts that a conversation with a host would send; gives the answers it was made with."""

    host = "here"

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.scripts: list[Script] = []

    def run(self, script: Script, *, deadline: float = 0.0) -> Result:
        self.scripts.append(script)
        body = self.answers.pop(0) if self.answers else b""
        return Result(0, body, b"", 0.0)


IMAGE = Image(
    "a", "1", f"sha256:{'0' * 64}", b"{}", "", (BlobFile(f"sha256:{'1' * 64}", 3, Path("/dev/null"), ""),)
)


def modules() -> dict[str, Any]:
    token = BootstrapToken()
    return {
        **base_modules(),
        "pulled_image": PulledImageKind(),
        "preloaded_image": PreloadedImageKind(lambda _: IMAGE, lambda each: f"r:5000/a@{each.digest}"),
        "certificate": CertificateKind({"ca": new_authority("ca")}),
        "kubeconfig": Kubeconfig(),
        "manifest": ManifestKind(),
        "node_joined": NodeJoinedKind(token),
        "node_marks": NodeMarksKind(),
        "etcd_seed": EtcdSeedKind(),
        "calico_reflectors": CalicoReflectorsKind(),
        "calico_mesh": CalicoMeshKind(),
        "etcd_member": EtcdMemberKind(),
        "endpoint_switch": switch.EndpointSwitchKind(),
        "bootstrap_token": BootstrapTokenKind(token),
        "bootstrap_kubeconfig": BootstrapKubeconfigKind(token),
        "api_certificate": ApiCertificateKind(
            lambda _, names: tuple(names), lambda pem, _: pem, {"here": (NASTY, "pem")}
        ),
        "kubeconfig_server": KubeconfigServerKind({"here": KUBECONFIGS}),
    }


def resources(folder: Path, kinds: dict[str, Any]) -> list[Resource]:
    (folder / "large").write_bytes(b"x" * 1_200_000)
    with tarfile.open(folder / "archive", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a"), io.BytesIO())
    path = folder / "book.yaml"
    path.write_text(yaml.safe_dump([{"name": "s", "hosts": "all", "tasks": TASKS}]))
    playbook = load_playbook(path, set(kinds))
    variables = {name: str(folder / name) for name in ("large", "archive")}
    made = Compiler(playbook, kinds).stage(playbook.stages[0], "here", variables)
    blob = Blob(hashlib.sha256(b"x" * 1_200_000).hexdigest(), 1_200_000, path=folder / "large")
    wanted = Present({"sha256": blob.sha256, "mode": "755"})
    on = {"value": "on", "at_boot": "on"}
    leaving = SebooleanKind().gone(Owned("seboolean", "came_with_its_package", frozenset(), on, {}))
    assert leaving is not None
    return [
        *made,
        leaving,
        Resource("artifact", NASTY, wanted, {"blob": blob}),
        Resource("artifact", "/opt/x", Absent()),
    ]


def changes(resource: Resource) -> Iterator[Change]:
    """From everything that may be there before, with every key, and with each of them alone."""
    befores: list[State] = [Absent(), Present({"paths": ("/opt/x",)}), Unknown("not up")]
    for before in befores:
        change = diff(resource, before)
        if change is not None:
            yield change
            for key in change.keys if change.action == "update" else ():
                yield Change(resource, before, "update", (key,))


def of_kinds(folder: Path) -> Iterator[Script]:
    kinds = modules()
    by_name: dict[str, Any] = dict(kinds_of(kinds))
    by_name["artifact"] = ArtifactKind(None, {})  # type: ignore[arg-type]  # only `build` looks at the bundle
    yield change_script([of_package_files()], [StepRecord("{}")], [])
    groups: dict[str, list[Resource]] = {}
    for resource in resources(folder, kinds):
        groups.setdefault(resource.kind, []).append(resource)
    assert set(groups) == set(by_name), "every kind has its task here"
    for name, group in groups.items():
        kind: HostKind = by_name[name]
        yield probe_script([kind.probe(group)])
        found = [change for resource in group for change in changes(resource)]
        if isinstance(kind, ScriptedKind):
            yield change_script(
                [kind.change(each) for each in found],
                [StepRecord("{}", "{before}", "{after}")] * len(found),
                [kind.probe(group)],
            )
        elif isinstance(kind, ConductedKind):
            yield from conducted(kind, group[0])
        if isinstance(kind, Lasting):
            yield probe_script([each for each in map(kind.stays, found) if each is not None])
        if isinstance(kind, Showing):
            yield probe_script([kind.show([each for each in found if each.resource.text is not None])])


def of_package_files() -> Script:
    blob = Blob.of(b"x")
    files = [PackageFile(name, f"{name}_1~b+c.deb", "Package: a\n", blob) for name in ("a", "b+c")]
    return install_script(["a", "b+c"], files, hold=True)


def conducted(kind: ConductedKind, resource: Resource) -> Iterator[Script]:
    nodes, none = b"n", b'{"items": []}'
    recorder = Recorder(*(answered(body) for body in (none, nodes, b"{}", b"")))
    if resource.kind == "node_joined":
        kind.conduct([Change(resource, Absent(), "create")], recorder)
        assert len(recorder.scripts) == 4
    elif resource.kind in ("calico_mesh", "calico_reflectors"):
        cluster = BGPCluster(["a", "b c"], mesh=False)
        if resource.kind == "calico_mesh":
            cluster = BGPCluster(["a", "b c"], {"a": "244.0.0.1"})
        kind.conduct([Change(resource, Present({}), "update")], cluster)
        assert len(cluster.patches) == 1
        recorder.scripts = cluster.scripts
    elif resource.kind == "migrated_mirrors":
        mirrors = b'==\n[plugins.cri.registry.mirrors."b"]\nendpoint = ["https://m"]\n'
        recorder.answers = [answered(mirrors), b"begin 0\nok 0\n"]
        kind.conduct([Change(resource, Present({}), "delete")], recorder)
        assert len(recorder.scripts) == 2
    else:
        left = Present({"left": ("label:a", "taint:b:NoSchedule")})
        recorder.answers = [answered(b"")]
        kind.conduct([Change(resource, left, "delete")], recorder)
    yield from recorder.scripts


def answered(body: bytes) -> bytes:
    return b"probes 0 %d 0\n%s" % (len(body), body)


def of_gates() -> Iterator[Script]:
    recorder, warned = Recorder(), list[str]()
    gates.api_ready([recorder])
    gates.api_started([recorder], 0.0)
    switch.check_nodes_ready(recorder, [])
    gates.endpoint_ready(recorder, "10.0.0.9:6443", "a hint")
    nodes = b"1000\nb\tFalse\t1970-01-01T00:00:10Z\na\tTrue\t1970-01-01T00:00:10Z"
    recorder.answers = [nodes]
    nodes_ready(recorder, "10.0.0.9:6443", ["a"], time.monotonic(), warned.append)
    assert warned == ["b: not Ready since before this run, and no host of the inventory: left out"]
    gates.network_ready(recorder, ["a", "b"], ["DaemonSet kube-flannel/kube-flannel-ds"])
    check = traffic.TrafficCheck("image", {"a": "10.0.0.1"}, "cluster.local", "run")
    check.pods.remove(recorder)
    group_is_bound(recorder)
    yield health_script(ROLES, {"certificates": READ_CERTIFICATES}, nodes=True)
    recorder.answers = [b'{"items": []}']
    no_anonymous(recorder)
    recorder.answers = [b'{"items": []}']
    with pytest.raises(ProvisionError, match="missing: asker on a, answerer on a"):
        check.pods.set_up(recorder, ["a"])
    of_a_measurement(recorder)
    yield from of_an_exchange()
    yield from of_leaving()
    yield from of_a_switch()
    yield from recorder.scripts
    targets = [asking.Target("service", "10.0.0.3:80")]
    yield from asking.questions(
        {asking.Asker("a", "p"): targets, asking.Asker("b", "q", "c"): []}, "a"
    ).values()
    yield Script(asking._inner_script(targets))


def of_a_measurement(recorder: Recorder) -> None:
    pods = BenchPods("run", "image", Placement("a", "b"))
    recorder.answers = [b'{"items": []}']
    with pytest.raises(ProvisionError, match="went away: bench-client, bench-near, bench-far"):
        pods.set_up(recorder)
    pods.ask(recorder, throughput_command("10.0.0.3", 3), 3)
    pods.ask(recorder, latency_command("10.0.0.3", 3), 3)
    pods.remove(recorder)


def of_an_exchange() -> Iterator[Script]:
    plane, nodes = Recorder(), Recorder(b"", b"now 7.5 1000.25")
    served = {"metadata": {"name": "peer-0"}, "spec": {"clusterIP": "10.96.0.7"}}
    plane.answers = [json.dumps({"items": [served]}).encode(), b'{"items": []}']

    def everywhere(scripts: Mapping[str, Script]) -> Mapping[str, Result]:
        return {name: nodes.run(script) for name, script in scripts.items()}

    exchange = Exchange("run", "image", ("a",))
    assert exchange.start(plane, everywhere) == {"a": 7.5}
    exchange.stop(plane, everywhere)
    yield from plane.scripts
    yield from nodes.scripts
    yield Script(CLIENT)


def of_leaving() -> Iterator[Script]:
    recorder = Recorder(answered(b""))
    assert not leaving.is_node(recorder, "a")
    leaving.drain(recorder, "a", seconds=5, force=True)
    recorder.answers = [answered(b""), answered(b'{"members": []}\n==\n[]'), answered(b"")]
    leaving.delete_node(recorder, "a")
    assert members.read_members(recorder) == []
    both = [members.Member(each, each, each, each, votes=True, healthy=True) for each in "ab"]
    members.remove_member(recorder, both, both[0])
    yield from recorder.scripts
    yield halt.halt_script({"kubelet.service", "etcd.service"}, ["10.244.0.0/16"])
    yield halt.halt_script({"kubelet.service"}, ["10.244.0.0/16"], ["default.storage"], images=False)
    yield halt.halt_script((), (), registry=halt.Registry("docker-registry.service", NASTY))
    yield halt.remember_script(["{}"])
    yield runtimeimages.delete_script()
    yield users_script()
    yield held_script()
    yield images_script(NASTY)
    yield look_again_script(("kubelet.service", "etcd.service"), ["10.244.0.0/16"])
    yield removal_script(("a", "b"), ("c", "d"), ("e.service", "f.service"))
    yield halt.clear_script(made=["/opt/a"], memory=["{}"])
    yield from of_remains()


def of_remains() -> Iterator[Script]:
    """Each function stands in every one of them; calls differ."""
    nets = ["10.244.1.0/24", "fd00:1::/64"]
    yield remains.clean_script("flannel", keep=["calico"], pod_cidrs=nets)
    yield remains.remains_script("canal", pod_cidrs=nets)
    yield remains.remains_script("cilium")
    yield remains.clean_backend_script("calico", "vxlan")
    yield remains.clean_vni_script(7)
    yield remains.vni_remains_script(7)
    yield remains.backup_script("cilium", NASTY, keep=["calico"])
    blocks = {"one": ["10.244.1.0/26"], "two": ["10.244.2.0/26"]}
    yield bridgeroutes.bridge_script("one", blocks, {"two": ["10.0.0.2"]})
    yield bridgeroutes.handed_over_script(blocks)
    yield bridgeroutes.unbridge_script()
    recorder = Recorder(answered(b""))
    objects = [
        {"apiVersion": version, "kind": kind, "metadata": {"name": NASTY, "namespace": "a"}}
        for version, kind in (("v1", "Namespace"), ("apps/v1", "DaemonSet"), ("apiextensions.k8s.io/v1", CRD))
    ]
    oldnetwork.backup(recorder, objects, "/a")
    oldnetwork.stop(recorder, objects)
    oldnetwork.remove(recorder, objects)
    oldnetwork.forget_notes(recorder, "calico")
    yield from recorder.scripts
    nothing = answered(b'GlobalNetworkPolicy\n{"items": []}')
    kept = json.dumps({"items": [{"kind": "GlobalNetworkPolicy", "metadata": {"name": NASTY}}]}).encode()
    there = answered(b"GlobalNetworkPolicy\n" + kept)
    recorder = Recorder(there, b"", b"", b"", kept, nothing, b"", b"", b"", nothing)
    ownobjects.keep_own([recorder], "calico")
    ownobjects.restore_own([recorder], "calico")
    ownobjects.lost_own(recorder, "calico", [])
    yield from recorder.scripts


def of_repairs() -> Iterator[Script]:
    yield read_script()
    yield look_script()
    yield give_back_script("cbr0", [Lease("cbr0", "10.0.0.9", "a", 1)], ["cni-1"])
    yield readdress_script("cni0", ["10.0.1.1/24"], ["10.0.0.1/24", "fd00::1/64"])
    for waits in (True, False):
        yield tear_down_script([Complaint("a", "b/c", "u", "/run/netns/d", 2, 1.0, 2.0, "e")], waits=waits)
    yield delete_pods_script([Pod("a", "b", "u", "n", False, (), "", False, True, "", ())])
    yield available_script("n", ["a/b"], dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


def of_a_switch() -> Iterator[Script]:
    plane, node = Recorder(answered(b"n\tTrue\n==\nn\t2026-01-01T00:00:00.5Z\n")), Recorder(b"1", b"")
    assert switch.await_return(plane, {"n": node}) == "n: Ready again"
    yield from plane.scripts
    yield from node.scripts
    begin = switch.EndpointSwitchKind()
    resource = Resource(
        "endpoint_switch", "begin", Present(), {"step": "begin", "files": ("/a", "/b"), "units": ("b",)}
    )
    back = begin.change(Change(resource, Absent(), "create")).payload["back"].data
    assert back is not None
    yield Script(back.decode())


def of_transport() -> Iterator[Script]:
    yield facts_script()
    yield facts_script(["a_b", "c"], {"debian-*": ["a", "b+c"], "*": ["d"]}, firewall=True)
    yield facts_script(address="10.98.1.9", links=True, masters=["eth1", "br0"], towards="8.8.8.8")
    yield facts_script(settings=["/proc/sys/net/core/somaxconn"])
    yield facts_script(settings=[])
    paths = {"kubernetes": "/opt/kubernetes", "etcd": "/opt/etcd", "admin": "/root/.kube/config"}
    yield facts_script(existing=paths)
    yield Script(lock.hold("run", 60))
    yield from between_hosts()
    yield worklock.after_others("echo")
    yield Script(worklock.locked("echo") + "\n")
    yield Script(frame.BODY + "\n")
    yield Script(frame.command(10240, "mark") + "\n")
    yield from map(Script, of_a_load_balancer())
    for balancing in ("", "8443"):
        door = {"pki": "/etc/kubernetes/pki", "balancing": balancing, "os": {"nginx_user": "www-data"}}
        yield Script(render_file(ROOT / "templates/control-plane/api-door.j2", door))
    yield Script(sudo.command(sudo.Become("root", None), sudo.Mode.UNKNOWN, "prompt", 10240, "mark") + "\n")


def between_hosts() -> Iterator[Script]:
    packets = [Packet("tcp", 179, "a", "b"), Packet("udp", 8472, "b", "a"), Packet("ipip", 0, "a", "b")]
    parties = parties_of(packets, {"a": "10.0.0.1", "b": "fd00::2"}, {"a": True, "b": False})
    for party in parties.values():
        script = party.script("r")
        yield script
        yield Script((script.payload["take"].data or b"").decode())


def of_failover() -> Iterator[Script]:
    old, new = ["10.0.0.1", "10.0.0.2"], ["fd00::1"]
    for fault in (
        faults.keepalived_stopped(),
        faults.nginx_stopped(),
        faults.apis_out_of_reach([*old, *new], 6443),
        faults.apis_out_of_reach(old, 6443),
        faults.link_cut("eth0.7"),
        faults.powered_off("eth0.7"),
        faults.server_killed(),
        faults.leaders_host_lost("eth0"),
    ):
        script = faults.begin(fault)
        yield script
        for part in ("do", "undo"):
            yield Script((script.payload[part].data or b"").decode())
    yield faults.LEFT
    for vip in ("10.0.0.9", "fd00::9"):
        yield watching.ready(vip, "eth0.7")
        yield watching.await_address(vip, 15)
        begun = watching.sampling(vip)
        yield begun
        yield Script(begun.main.split("END'\n")[1].partition("END\n")[0])
    recorder = Recorder(b'{"members": []}\n==\n[]')
    assert leader.read_voters(recorder, etcdctl()) == []
    leader.hand_over(recorder, etcdctl(), leader.Voter("7", "a", "10.0.0.1", answers=True, leads=False))
    leader.await_member(recorder, etcdctl())
    yield from recorder.scripts
    recorder = Recorder(b"17.5\n18.5 1\n18.6 0\n18.7")
    assert [each.holds for each in watching.collected(recorder)] == [True, False]
    yield from recorder.scripts


def of_a_load_balancer() -> Iterator[str]:
    router = VirtualRouter("10.98.1.9/32", 9, "eth0", "10.98.1.5", 200, ("10.98.1.6",))
    variables: dict[str, Any] = {
        "folder": "/etc/kubernetes/load-balancer",
        "balancing": "6443",
        "api_server": "https://[fd00::9]:6443",
        "virtual_router": router,
    }
    variables["cluster"] = load_cluster(ROOT / "inventories/ha.yaml")[1]
    for name in ("api-health", "api-servers", "api-hand-over", "virtual-router-free"):
        yield render_file(ROOT / f"templates/load-balancer/{name}.j2", variables)


def written(scripts: Iterator[Script], folder: Path, name: str) -> list[Path]:
    """The scripts' own text and that of all their parts, as files."""
    paths = []
    for number, script in enumerate(scripts):
        parts = {"main": script.main.encode()}
        for member, blob in script.payload.items():
            if member.rpartition("/")[2] in {"run", "prelude", "collect"} and blob.data is not None:
                parts[member.replace("/", "-")] = blob.data
        for part, text in parts.items():
            path = folder / f"{name}-{number}-{part}.sh"
            path.write_bytes(text)
            paths.append(path)
    return paths


@pytest.mark.parametrize("source", ["kinds", "gates", "transport", "failover", "repairs"])
def test_scripts_pass_shellcheck(source: str, tmp_path: Path) -> None:
    scripts = {
        "kinds": lambda: of_kinds(tmp_path),
        "gates": of_gates,
        "transport": of_transport,
        "failover": of_failover,
        "repairs": of_repairs,
    }[source]()
    paths = written(scripts, tmp_path, source)
    unique = {path.read_bytes(): path for path in paths}
    assert len(unique) >= 5
    argv = [
        "shellcheck",
        "-s",
        "sh",
        f"--exclude={','.join(MEANT[source])}",
        "-f",
        "gcc",
        *sorted(map(str, unique.values())),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    findings = [f"{line}\n    {_line_of(line)}" for line in done.stdout.splitlines()]
    assert done.returncode == 0, "\n".join(findings)


def _line_of(finding: str) -> str:
    path, number, *_ = finding.split(":")
    return Path(path).read_text().splitlines()[int(number) - 1]
