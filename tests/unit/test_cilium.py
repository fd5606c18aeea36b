"""Cilium's manifests are patched for each mode; what this version of them lacks is an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from papercilium import KEYS, paper_cilium

from provisioner.errors import ProvisionError
from provisioner.kube.objects import object_key
from provisioner.network import cilium
from provisioner.network.needs import Needs, needs_of
from provisioner.network.patches import images_of
from provisioner.network.podnetwork import PodNetwork
from provisioner.spec.cilium import Cilium, Hubble, build_cilium
from provisioner.spec.ciliumwords import config_key
from provisioner.spec.dns import Dns
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, LoadBalancer
from provisioner.spec.policies import Peer, Policy
from provisioner.spec.values import RefusedError

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
POD = ("10.244.0.0/16",)
BOTH = (*POD, "fd00:244::/56")
RELAY = Cilium(hubble=Hubble(enabled=True, relay=True))


def private(reference: str) -> str:
    return f"registry.lab.internal:5000/{reference.partition('/')[2]}@sha256:0"


def cluster(options: Cilium, cidrs: tuple[str, ...] = POD, **changed: Any) -> ClusterSpec:
    spec = load_cluster(LAB)[1]
    network = replace(spec.network, plugin="cilium", cilium=options, pod_cidrs=cidrs)
    return replace(spec, network=network, **changed)


def made(spec: ClusterSpec, upstream: list[dict[str, Any]] | None = None) -> dict[str, dict[str, Any]]:
    return {object_key(each): each for each in cilium.objects(spec, upstream or paper_cilium(), private)}


def config(options: Cilium, cidrs: tuple[str, ...] = POD) -> Mapping[str, str]:
    data: Mapping[str, str] = made(cluster(options, cidrs))[cilium.CONFIG]["data"]
    return data


POOLED = {
    "ipam": "cluster-pool",
    "cluster-pool-ipv4-cidr": "10.244.0.0/16",
    "cluster-pool-ipv4-mask-size": "24",
}
MODES = {
    "vxlan": (Cilium(), POD, {"routing-mode": "tunnel", "tunnel-protocol": "vxlan", "enable-ipv6": "false", **POOLED}),
    "geneve": (
        Cilium(tunnel_protocol="geneve", tunnel_port=7000),
        POD,
        {"tunnel-protocol": "geneve", "tunnel-port": "7000"},
    ),
    "native": (
        Cilium("native"),
        POD,
        {"routing-mode": "native", "auto-direct-node-routes": "true", "ipv4-native-routing-cidr": "10.244.0.0/16"},
    ),
    "routed": (
        Cilium("native", auto_direct_node_routes=False, native_routing_cidrs=("10.0.0.0/8",)),
        POD,
        {"auto-direct-node-routes": "false", "ipv4-native-routing-cidr": "10.0.0.0/8"},
    ),
    "kubernetes": (Cilium(ipam="kubernetes"), POD, {"ipam": "kubernetes", "k8s-require-ipv4-pod-cidr": "true"}),
    "pools": (
        Cilium(pools=("10.244.0.0/17", "10.244.192.0/18")),
        POD,
        {"cluster-pool-ipv4-cidr": "10.244.0.0/17 10.244.192.0/18", "k8s-require-ipv4-pod-cidr": "false"},
    ),
    "both families": (
        Cilium("native"),
        BOTH,
        {
            "enable-ipv6": "true",
            "cluster-pool-ipv6-cidr": "fd00:244::/56",
            "cluster-pool-ipv6-mask-size": "64",
            "ipv6-native-routing-cidr": "fd00:244::/56",
            **POOLED,
        },
    ),
    "options": (
        Cilium(mtu=1400, wireguard=True, devices=("eth0", "eth+"), config={"enable-policy": "always"}),
        POD,
        {"mtu": "1400", "enable-wireguard": "true", "devices": "eth0 eth+", "enable-policy": "always"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_each_mode(mode: str) -> None:
    options, cidrs, wanted = MODES[mode]
    found = config(options, cidrs)
    assert {name: found.get(name) for name in wanted} == wanted
    assert found["cni-exclusive"] == "false", "others' configurations keep their names"
    assert not any("10.0.0.0/8" in found[name] for name in found if name.startswith("cluster-pool"))
    assert all(isinstance(value, str) for value in found.values()), "a ConfigMap takes nothing else"


def test_what_is_not_asked_for_is_not_there() -> None:
    found = config(Cilium())
    assert set(found) == {*KEYS, "enable-policy"}
    assert found["kube-proxy-replacement"] == found["enable-node-port"] == "false"


def test_a_policy_s_cidr_means_nodes_as_well() -> None:
    def policies(peer: Peer) -> dict[str, str]:
        spec = cluster(Cilium())
        policy = Policy("web", ("shop",), destinations=(peer,))
        return cilium.further_settings(replace(spec, network=replace(spec.network, policies=(policy,))))

    assert policies(Peer(cidr="10.98.0.0/24")) == {"policy-cidr-match-mode": "nodes"}
    assert policies(Peer({"app": "db"})) == {}


def test_images_are_private_and_a_new_configuration_rolls_the_pods() -> None:
    objects = made(cluster(RELAY))
    assert all(each.startswith("registry.lab.internal:5000/") for each in images_of(objects.values()))
    other = made(cluster(replace(RELAY, mtu=1400)))
    for key, differs in ((cilium.DAEMONS, True), (cilium.OPERATOR, True), (cilium.RELAY, False)):
        old, new = (each[key]["spec"]["template"]["metadata"]["annotations"] for each in (objects, other))
        assert (old["provision.dev/config"] != new["provision.dev/config"]) is differs, key
    kept = objects[cilium.OPERATOR]["spec"]["template"]["metadata"]["annotations"]
    assert kept["prometheus.io/port"] == "9963"


def env(objects: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, str]]]:
    for each in objects.values():
        spec = each.get("spec", {}).get("template", {}).get("spec", {})
        for container in (*spec.get("containers", ()), *spec.get("initContainers", ())):
            yield container["name"], {one["name"]: one["value"] for one in container["env"]}


@pytest.mark.parametrize(("mode", "host"), [("group", "10.98.0.11"), ("local", "127.0.0.1")])
def test_without_kube_proxy_the_api_server_is_reached_as_nodes_reach_it(mode: str, host: str) -> None:
    spec = cluster(Cilium(kube_proxy_replacement=True), load_balancer=LoadBalancer(mode))
    objects = made(spec)
    wanted = {"A": "b", "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "6443"}
    told = {name for name, found in env(objects) if found == wanted}
    assert told == {"cilium-agent", "config", "clean-cilium-state", "cilium-envoy", "cilium-operator"}
    data = objects[cilium.CONFIG]["data"]
    assert data["kube-proxy-replacement"] == data["enable-node-port"] == data["enable-host-port"] == "true"
    assert not any(found != {"A": "b"} for _, found in env(made(cluster(Cilium()))))


def test_a_single_node_has_one_operator() -> None:
    spec = cluster(Cilium())
    assert made(spec)[cilium.OPERATOR]["spec"]["replicas"] == 2
    alone = replace(spec, nodes={"cp1": spec.nodes["cp1"]})
    operator = made(alone)[cilium.OPERATOR]["spec"]
    assert operator["replicas"] == 1
    assert operator["strategy"]["rollingUpdate"]["maxUnavailable"] == "100%"


def test_the_relay_asks_in_the_clusters_domain() -> None:
    spec = cluster(RELAY, dns=Dns("10.96.0.10", "corp.example", ()))
    conf = yaml.safe_load(made(spec)[cilium.RELAY_CONFIG]["data"]["config.yaml"])
    assert conf == {"peer-service": "hubble-peer.kube-system.svc.corp.example.:443", "dial-timeout": None}


def test_a_variant_for_each_structure() -> None:
    flows = Hubble(enabled=True)
    for hubble, name in (
        (Hubble(), "cilium"),
        (flows, "cilium"),
        (replace(flows, relay=True), "cilium-hubble"),
        (replace(flows, relay=True, ui=True), "cilium-hubble-ui"),
    ):
        network = PodNetwork(cluster(Cilium(hubble=hubble)), lambda _: "")
        assert (network.artifact, network.daemons) == (name, cilium.DAEMONS)
    assert config(Cilium(hubble=flows))["hubble-socket-path"] == "/var/run/cilium/hubble.sock"


def test_it_is_said_what_is_changed_and_why() -> None:
    network = PodNetwork(cluster(Cilium(mtu=1400)), lambda _: yaml.safe_dump_all(paper_cilium()))
    told = {each.path: (each.before, each.after, each.why) for each in network.patched(private)}
    assert told["data.mtu"] == (None, "1400", "network.cilium of the spec")
    assert told["data.routing-mode"] == ("default", "tunnel", "network of the spec")
    image = told["spec.template.spec.containers[cilium-agent].image"]
    assert image[1] == "registry.lab.internal:5000/cilium/cilium:v1@sha256:0"


def test_a_key_that_this_version_does_not_know_is_an_error() -> None:
    upstream = paper_cilium()
    upstream[0]["data"]["tunnel"] = upstream[0]["data"].pop("routing-mode")
    with pytest.raises(
        ProvisionError, match="cilium: cilium-config has no key routing-mode, which is to be tunnel"
    ):
        cilium.objects(cluster(Cilium()), upstream, private)
    del upstream[3]
    with pytest.raises(ProvisionError, match="no container cilium-envoy"):
        cilium.objects(
            cluster(Cilium(kube_proxy_replacement=True)), [paper_cilium()[0], *upstream[1:]], private
        )


def test_the_same_input_gives_the_same_objects() -> None:
    assert cilium.objects(cluster(RELAY), paper_cilium(), private) == cilium.objects(
        cluster(RELAY), paper_cilium(), private
    )


NETFILTER = ("cls_bpf", "sch_ingress", "ip_set", "ip_set_hash_ip", "xt_set")
NEEDS = [
    (Cilium(), ("vxlan",), (0, 0), (8472,), (4240,), ()),
    (Cilium(tunnel_protocol="geneve"), ("geneve",), (0, 0), (6081,), (4240,), ()),
    (Cilium("native"), (), (0, 0), (), (4240,), (4,)),
    (Cilium("native", auto_direct_node_routes=False), (), (0, 0), (), (4240,), ()),
    (
        replace(RELAY, wireguard=True, tunnel_port=7000),
        ("vxlan", "wireguard"), (5, 6), (7000, 51871), (4240, 4244), (),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "modules", "kernel", "udp", "tcp", "adjacent"), NEEDS)
def test_needs(
    options: Cilium,
    modules: tuple[str, ...],
    kernel: tuple[int, int],
    udp: tuple[int, ...],
    tcp: tuple[int, ...],
    adjacent: tuple[int, ...],
) -> None:
    found = needs_of(cluster(options))
    assert found == Needs(
        found.what, (*NETFILTER, *modules), kernel, udp, tcp, (), adjacent, found.apart, ("amd64", "arm64")
    )
    assert "ip_vs" not in found.modules


def test_defaults_are_the_pod_cidrs() -> None:
    built = build_cilium({"hubble": {"relay": True}}, BOTH)
    assert built.pools == built.native_routing_cidrs == BOTH
    assert built.hubble == Hubble(enabled=True, relay=True)


def test_no_key_of_ours_is_taken_from_the_spec() -> None:
    """Two values for one key: the spec's config would win without a word."""
    hubble = Hubble(enabled=True, relay=True, ui=True)
    tunnel = cluster(Cilium(tunnel_port=9000, mtu=1400, devices=("eth0",), wireguard=True, hubble=hubble))
    native = cluster(Cilium(routing_mode="native"))
    names = {*cilium.settings(tunnel), *cilium.further_settings(tunnel), *cilium.further_settings(native)}
    for name in names:
        with pytest.raises(RefusedError):
            config_key(name)
