"""flannel's VXLAN among IPv6 addresses: 20 bytes more than flannel takes off by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_tuning import NINE, SMALL, load, nodes

from provisioner.action.tuning import check_tuning
from provisioner.errors import ProvisionError
from provisioner.network.flannel import net_conf
from provisioner.network.mtu import given_mtu, mtu_misfits, overhead_of, pod_mtu, wire_mtu
from provisioner.spec.model import Flannel

SIX = ("10.244.0.0/16", "fd00::/56")


def test_vxlan_among_ipv6_addresses_adds_more_than_flannel_reckons_with(tmp_path: Path) -> None:
    """It would make flannel-v6.1 with 1450, and send 1520."""
    inventory, spec = load(tmp_path)
    both = replace(spec, network=replace(spec.network, pod_cidrs=SIX))
    assert overhead_of(both) == 70
    found = nodes(both)
    assert pod_mtu(both, found["worker1"], "eth0") == 1430
    backend = json.loads(net_conf(both))["Backend"]
    assert backend["MTU"] - 50 == 1430, "what flannel makes of it"
    assert "MTU" not in json.loads(net_conf(spec))["Backend"], "the link's own"
    assert list(mtu_misfits(both, found)) == []
    with pytest.raises(ProvisionError, match="pods would have the MTU 1430, the network adds 70") as caught:
        check_tuning(both, nodes(both, worker1=SMALL), inventory, lambda _: None)
    assert "set network.flannel.mtu: 1400," in caught.value.hint
    canal = replace(both, network=replace(both.network, plugin="canal"))
    assert (given_mtu(canal), wire_mtu(canal)) == (1430, 1500)


def test_large_links_are_to_be_told_where_flannel_does_not_look(tmp_path: Path) -> None:
    _, spec = load(tmp_path)
    both = replace(spec, network=replace(spec.network, pod_cidrs=SIX))
    (misfit,) = mtu_misfits(both, nodes(both, every=NINE))
    assert misfit.doubtful
    assert misfit.hint == "set network.flannel.mtu: 9000"
    told = replace(both, network=replace(both.network, flannel=Flannel(mtu=9000)))
    assert json.loads(net_conf(told))["Backend"]["MTU"] == 8980
    assert list(mtu_misfits(told, nodes(told, every=NINE))) == []
    assert list(mtu_misfits(spec, nodes(spec, every=NINE))) == [], "IPv4 alone: its own business"
