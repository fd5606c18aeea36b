"""What cannot change once a cluster runs changes only while it is known that it never ran."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.action.fixed import check_fixed, fixed_of, with_fixed
from provisioner.errors import InputError
from provisioner.inventory.model import Inventory, load_inventory
from provisioner.pki.cluster import new_state
from provisioner.playbook.facts import Facts
from provisioner.resources.owned import parse_owned
from provisioner.spec.calico import BGP, BGPPeer, Calico, IPPool
from provisioner.spec.cilium import Cilium
from provisioner.spec.load import load_spec
from provisioner.spec.model import ClusterSpec, Flannel, Network

BASE = Path(__file__).parents[1] / "data" / "spec" / "base.yaml"
BARE = Facts("amd64", "6", "h", "debian", "12", 0.0, False, 1, {}, "")
API_SERVER = json.dumps(
    {
        "kind": "file",
        "name": "/etc/systemd/system/kube-apiserver.service",
        "playbook": "site",
        "wanted": {"sha256": "0"},
        "before": {},
    }
)
STATE = new_state("lab")


@pytest.fixture
def changed() -> tuple[Inventory, ClusterSpec]:
    """An inventory whose CIDRs are others than those of STATE."""
    inventory = load_inventory(BASE)
    return inventory, load_spec(inventory)


def hosts(inventory: Inventory, **known: Facts) -> dict[str, Facts]:
    return {name: known.get(name, BARE) for name in inventory.hosts}


def judge(inventory: Inventory, spec: ClusterSpec, facts: Mapping[str, Facts]) -> Mapping[str, object]:
    """What is fixed after a run with `facts`."""
    was = replace(STATE, fixed={**fixed_of(spec), "pod_cidrs": ["192.0.2.0/24"]})
    owned = {host: parse_owned(each.owned) for host, each in facts.items()}
    state = with_fixed(spec, was, facts, owned)
    check_fixed(inventory, spec, state)
    return state.fixed


def test_before_anything_runs_the_spec_counts(changed: tuple[Inventory, ClusterSpec]) -> None:
    inventory, spec = changed
    assert judge(inventory, spec, hosts(inventory)) == fixed_of(spec)


@pytest.mark.parametrize("seen", ["a kubelet", "an API server", "not all hosts"])
def test_a_cluster_that_may_have_run_keeps_what_it_has(
    changed: tuple[Inventory, ClusterSpec], seen: str
) -> None:
    inventory, spec = changed
    facts = hosts(inventory)
    if seen == "a kubelet":
        facts["worker1"] = replace(BARE, kubelet_certificate="-----BEGIN CERTIFICATE-----")
    elif seen == "an API server":
        facts["cp1"] = replace(BARE, owned=API_SERVER)
    else:  # --limit kube_control_plane, where no control plane is a node
        del facts["worker1"]
    with pytest.raises(InputError, match="pod_cidrs: the cluster runs with"):
        judge(inventory, spec, facts)


def test_what_an_older_format_lacks_comes_from_the_spec(changed: tuple[Inventory, ClusterSpec]) -> None:
    inventory, spec = changed
    facts = hosts(inventory, cp1=replace(BARE, owned=API_SERVER))
    owned = {host: parse_owned(each.owned) for host, each in facts.items()}
    assert with_fixed(spec, replace(STATE, fixed={"domain": "other"}), facts, owned).fixed == {
        **fixed_of(spec),
        "domain": "other",
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ipam": "kubernetes"}, "ipam: the cluster runs with cluster-pool"),
        ({"kube_proxy_replacement": True}, "services: the cluster runs with kube-proxy"),
        ({"routing_mode": "native"}, "backend: the cluster runs with vxlan"),
        ({"tunnel_port": 8473}, "'s tunnel: the cluster runs with UDP 8472"),
    ],
)
def test_cilium_keeps_who_does_what(
    changed: tuple[Inventory, ClusterSpec], change: dict[str, Any], reason: str
) -> None:
    inventory, spec = changed
    before = replace(spec, network=replace(spec.network, plugin="cilium"))
    state = replace(STATE, fixed=fixed_of(before))
    check_fixed(inventory, before, state)
    after = replace(before.network, cilium=replace(before.network.cilium, **change))
    with pytest.raises(InputError, match=reason):
        check_fixed(inventory, replace(before, network=after), state)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (Flannel(), Flannel(port=4789), "'s tunnel: the cluster runs with UDP 8472, VNI 1,"),
        (Flannel(), Flannel(vni=2), "'s tunnel: the cluster runs with UDP 8472, VNI 1,"),
        (Flannel(gbp=True), Flannel(), "'s tunnel: the cluster runs with UDP 8472, VNI 1, GBP"),
        (Flannel("wireguard"), Flannel("wireguard", mode="auto"), "runs with UDP 51820, mode separate"),
        (Flannel("udp"), Flannel("udp", port=9000), "'s tunnel: the cluster runs with UDP 8285"),
    ],
)
def test_flannel_keeps_what_both_ends_have_in_common(
    changed: tuple[Inventory, ClusterSpec], before: Flannel, after: Flannel, reason: str
) -> None:
    inventory, spec = changed

    def of(flannel: Flannel) -> ClusterSpec:
        return replace(spec, network=replace(spec.network, flannel=flannel))

    state = replace(STATE, fixed=fixed_of(of(before)))
    check_fixed(inventory, of(replace(before, interface="eth1")), state)
    with pytest.raises(InputError, match=reason):
        check_fixed(inventory, of(after), state)


def test_cilium_keeps_its_pools_and_may_get_more(changed: tuple[Inventory, ClusterSpec]) -> None:
    inventory, spec = changed

    def of(*pools: str) -> ClusterSpec:
        return replace(spec, network=replace(spec.network, plugin="cilium", cilium=Cilium(pools=pools)))

    state = replace(STATE, fixed=fixed_of(of("10.244.0.0/17")))
    check_fixed(inventory, of("10.244.0.0/17", "10.244.128.0/17"), state)
    with pytest.raises(InputError, match=r"pools: the cluster runs with \[10\.244\.0\.0/17\]"):
        check_fixed(inventory, of("10.244.128.0/17"), state)


def test_calico_keeps_its_pools_and_may_get_more(changed: tuple[Inventory, ClusterSpec]) -> None:
    inventory, spec = changed
    first, more = IPPool("pods", "10.244.0.0/17"), IPPool("more", "10.244.128.0/17")

    def of(*pools: IPPool) -> ClusterSpec:
        return replace(spec, network=replace(spec.network, plugin="calico", calico=Calico(pools=pools)))

    facts = hosts(inventory, cp1=replace(BARE, owned=API_SERVER))
    owned = {host: parse_owned(each.owned) for host, each in facts.items()}
    state = with_fixed(of(first, more), replace(STATE, fixed=fixed_of(of(first))), facts, owned)
    check_fixed(inventory, of(first, more), state)
    for pools in (
        (first,),
        (replace(first, cidr="10.244.0.0/18"), more),
        (first, replace(more, block_size=28)),
    ):
        with pytest.raises(
            InputError, match=r"pools: the cluster runs with \[(pods|more) of .* in blocks of /26"
        ):
            check_fixed(inventory, of(*pools), state)


_VXLAN, _SIX = IPPool("pods", "10.244.0.0/16"), IPPool("six", "fd00:244::/56")
_ENCRYPTED = Calico(pools=(_VXLAN, _SIX), wireguard=True)


@pytest.mark.parametrize(
    ("before", "change", "reason"),
    [
        (
            Calico(pools=(_VXLAN,)),
            {"felix": {"vxlanPort": 4790}},
            "'s tunnel: the cluster runs with UDP 4789, VNI 4096,",
        ),
        (
            Calico(pools=(_VXLAN,)),
            {"felix": {"vxlanVNI": 1}},
            "'s tunnel: the cluster runs with UDP 4789, VNI 4096,",
        ),
        (
            Calico(pools=(_VXLAN,)),
            {"env": {"FELIX_VXLANVNI": "1"}},
            "'s tunnel: the cluster runs with UDP 4789, VNI 4096,",
        ),
        (
            _ENCRYPTED,
            {"felix": {"wireguardListeningPort": 9}},
            "WireGuard's port over IPv4: the cluster runs with UDP 51820",
        ),
        (
            _ENCRYPTED,
            {"felix": {"wireguardListeningPortV6": 9}},
            "WireGuard's port over IPv6: the cluster runs with UDP 51821",
        ),
    ],
)
def test_calico_keeps_what_both_ends_have_in_common(
    changed: tuple[Inventory, ClusterSpec], before: Calico, change: dict[str, Any], reason: str
) -> None:
    inventory, spec = changed

    def of(calico: Calico) -> ClusterSpec:
        return replace(spec, network=replace(spec.network, plugin="calico", calico=calico))

    state = replace(STATE, fixed=fixed_of(of(before)))
    for others in ({"mtu": 1400}, {"wireguard": not before.wireguard}):  # nodes take them one by one
        check_fixed(inventory, of(replace(before, **others)), state)
    with pytest.raises(InputError, match=reason):
        check_fixed(inventory, of(replace(before, **change)), state)


def test_a_port_of_wireguard_s_is_forgotten_with_it(changed: tuple[Inventory, ClusterSpec]) -> None:
    inventory, spec = changed

    def of(calico: Calico) -> ClusterSpec:
        return replace(spec, network=replace(spec.network, plugin="calico", calico=calico))

    facts = hosts(inventory, cp1=replace(BARE, owned=API_SERVER))
    owned = {host: parse_owned(each.owned) for host, each in facts.items()}
    on, moved = of(_ENCRYPTED), of(replace(_ENCRYPTED, felix={"wireguardListeningPort": 9}))
    state = replace(STATE, fixed=fixed_of(on))
    with pytest.raises(InputError, match="WireGuard's port over IPv4: the cluster runs with UDP 51820"):
        check_fixed(inventory, moved, with_fixed(moved, state, facts, owned))
    off = with_fixed(of(replace(_ENCRYPTED, wireguard=False)), state, facts, owned)
    check_fixed(inventory, moved, with_fixed(moved, off, facts, owned))


def test_vxlan_s_port_is_forgotten_with_it(changed: tuple[Inventory, ClusterSpec]) -> None:
    inventory, spec = changed

    def of(encapsulation: str, **felix: int) -> ClusterSpec:
        pools = (replace(_VXLAN, encapsulation=encapsulation), replace(_SIX, encapsulation="None"))
        return replace(spec, network=Network(plugin="calico", calico=Calico(pools=pools, felix=felix)))

    facts = hosts(inventory, cp1=replace(BARE, owned=API_SERVER))
    owned = {host: parse_owned(each.owned) for host, each in facts.items()}
    moved, state = of("VXLAN", vxlanPort=4790), replace(STATE, fixed=fixed_of(of("VXLAN")))
    with pytest.raises(InputError, match="'s tunnel: the cluster runs with UDP 4789"):
        check_fixed(inventory, moved, with_fixed(moved, state, facts, owned))
    gone = with_fixed(of("IPIP"), state, facts, owned)
    check_fixed(inventory, of("IPIP"), gone)
    assert "wire" not in gone.fixed
    again = with_fixed(moved, gone, facts, owned)
    check_fixed(inventory, moved, again)
    assert again.fixed["wire"] == "UDP 4790, VNI 4096"


_BGP = BGP(peers=(BGPPeer("tor", address="192.0.2.1", as_number=64600),))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (
            Calico(pools=(_VXLAN,)),
            Calico(pools=(_VXLAN,), bgp=_BGP),
            "those of the others do not speak BGP yet",
        ),
        (
            Calico(pools=(_VXLAN,)),
            Calico(pools=(_VXLAN,), bgp=replace(_BGP, mesh=False)),
            "no way is known from the one to the other",
        ),
        (
            Calico(pools=(_VXLAN,), bgp=_BGP),
            Calico(pools=(_VXLAN,)),
            "nodes end their sessions one after the other",
        ),
        (
            Calico(pools=(_VXLAN,)),
            Calico(pools=(replace(_VXLAN, encapsulation="IPIP"),)),
            "do not reach each other's pods",
        ),
        (
            Calico(pools=(replace(_VXLAN, encapsulation="IPIP"),)),
            Calico(pools=(_VXLAN,)),
            "nodes end their sessions one after the other",
        ),
    ],
)
def test_bgp_beside_vxlan_is_refused_for_what_is_true(
    changed: tuple[Inventory, ClusterSpec], before: Calico, after: Calico, why: str
) -> None:
    """Pods reach each other by VXLAN all the while."""
    inventory, spec = changed

    def of(calico: Calico) -> ClusterSpec:
        return replace(spec, network=Network(plugin="calico", calico=calico))

    with pytest.raises(
        InputError, match=rf"(bgp|encapsulation): the cluster runs with (VXLAN alone|BGP), .*{why}"
    ):
        check_fixed(inventory, of(after), replace(STATE, fixed=fixed_of(of(before))))


def test_what_calico_s_pools_do_not_use_is_not_fixed(changed: tuple[Inventory, ClusterSpec]) -> None:
    spec = replace(changed[1], network=replace(changed[1].network, plugin="calico"))
    routed = Calico(pools=(replace(_VXLAN, encapsulation="None"),))
    fixed = fixed_of(replace(spec, network=replace(spec.network, calico=routed)))
    assert not [name for name in fixed if name.startswith("wire")]


def test_calico_s_backend_is_told_by_what_makes_it(changed: tuple[Inventory, ClusterSpec]) -> None:
    inventory, spec = changed
    pools = (IPPool("pods", "10.244.0.0/16"),)
    was = replace(spec, network=replace(spec.network, plugin="calico", calico=Calico(pools=pools)))
    calico = Calico(pools=(replace(pools[0], encapsulation="None"),))
    after = replace(was, network=replace(was.network, calico=calico))
    with pytest.raises(InputError, match="have VXLAN or VXLANCrossSubnet in all pools, and no bgp options"):
        check_fixed(inventory, after, replace(STATE, fixed=fixed_of(was)))


_OPERATED = Calico(install="operator", pools=(_VXLAN,))


@pytest.mark.parametrize(
    ("before", "after", "to"),
    [
        (Network(), Network(plugin="calico", calico=Calico(pools=(_VXLAN,))), "calico"),
        (Network(plugin="calico", calico=Calico(pools=(_VXLAN,))), Network(), "flannel"),
        (Network(), Network(flannel=Flannel("host-gw")), "flannel"),
        (
            Network(plugin="calico", calico=Calico(pools=(_VXLAN,))),
            Network(plugin="calico", calico=Calico(pools=(_VXLAN,), bgp=_BGP)),
            "calico",
        ),
        (
            Network(plugin="calico", calico=Calico(pools=(_VXLAN,))),
            Network(plugin="calico", calico=Calico(pools=(replace(_VXLAN, block_size=28),))),
            "calico",
        ),
        (Network(), Network(plugin="cilium"), ""),
        (Network(plugin="canal"), Network(), ""),
        (Network(), Network(flannel=Flannel(vni=2)), ""),
        (Network(), Network(plugin="calico", calico=Calico(policy_only=True)), ""),
        (Network(), Network(plugin="calico", calico=_OPERATED), ""),
        (
            Network(plugin="calico", calico=_OPERATED),
            Network(plugin="calico", calico=replace(_OPERATED, pools=(replace(_VXLAN, block_size=28),))),
            "",
        ),
        (Network(), Network(service_cidrs=("10.97.0.0/16",)), ""),
    ],
)
def test_the_way_to_another_network_is_named_where_there_is_one(
    changed: tuple[Inventory, ClusterSpec], before: Network, after: Network, to: str
) -> None:
    inventory, spec = changed
    state = replace(STATE, fixed=fixed_of(replace(spec, network=before)))
    with pytest.raises(InputError) as caught:
        check_fixed(inventory, replace(spec, network=after), state)
    way = f"or `provision migrate {inventory.path} --to {to}`" if to else "or build another cluster"
    assert [each.hint.endswith(way) for each in caught.value.problems] == [True]
