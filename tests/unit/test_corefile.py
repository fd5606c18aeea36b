"""CoreDNS' configuration is made of what the spec says, and of nothing that would mean more than itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from paperbundle import paper_bundle

from provisioner.action.variables import ClusterVariables
from provisioner.errors import ProvisionError
from provisioner.inventory.model import load_inventory
from provisioner.network.corefile import corefile
from provisioner.pki.cluster import new_state
from provisioner.playbook.render import render_file
from provisioner.spec.dns import Dns, Forward, dns_replicas
from provisioner.spec.load import load_cluster
from provisioner.spec.model import load_spec

ROOT = Path(__file__).parents[2]
LAB = ROOT / "inventories" / "lab.yaml"
USUAL = """\
.:53 {
    errors
    health {
        lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    forward . /etc/resolv.conf {
        max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
"""
STUB = """\
corp.example:53 {
    errors
    cache 30
    forward . 10.1.1.1 [fd00::53]:5353 {
        max_concurrent 1000
    }
}
"""
PLAIN = Dns("10.96.0.10")


def test_what_is_there_without_a_word() -> None:
    assert corefile(PLAIN) == USUAL


def test_stub_domains_are_servers_of_their_own_in_order() -> None:
    servers = {"corp.example": ("10.1.1.1", "[fd00::53]:5353"), "b.example": ("10.1.1.2",)}
    first = corefile(replace(PLAIN, stub_domains=servers))
    assert first.startswith(USUAL + "b.example:53 {\n")
    assert first.endswith(STUB)
    assert first == corefile(replace(PLAIN, stub_domains=dict(reversed(servers.items()))))


def test_options_of_forwarding() -> None:
    options = Forward("sequential", max_concurrent=50, max_fails=0, prefer_udp=True)
    text = corefile(replace(PLAIN, upstreams=("10.1.1.1:5353",), forward=options))
    wanted = ["max_concurrent 50", "policy sequential", "max_fails 0", "prefer_udp"]
    block = text.partition("forward . 10.1.1.1:5353 {\n")[2].partition("}")[0]
    assert [line.strip() for line in block.splitlines() if line.strip()] == wanted


def test_without_upstreams_nobody_is_asked() -> None:
    text = corefile(replace(PLAIN, upstreams=()))
    assert "forward" not in text
    assert "loop" not in text.split()
    assert "kubernetes cluster.local" in text


@pytest.mark.parametrize(
    "word", ["a b", "a}", "{$HOME}", "{%PATH%}", '"', "a#b", "a\n", "", "a\\", "é"], ids=repr
)
def test_no_word_means_more_than_itself(word: str) -> None:
    with pytest.raises(ProvisionError, match="cannot be a word"):
        corefile(replace(PLAIN, domain=word))
    with pytest.raises(ProvisionError, match="cannot be a word"):
        corefile(replace(PLAIN, stub_domains={"a.example": (word,)}))


@pytest.mark.parametrize(
    ("nodes", "replicas"),
    [(0, 1), (1, 1), (2, 2), (3, 2), (16, 2), (32, 2), (33, 3), (48, 3), (49, 4), (1000, 63)],
)
def test_pods_by_the_number_of_nodes(nodes: int, replicas: int) -> None:
    assert dns_replicas(nodes) == replicas


def rendered(spec_dns: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """What the template makes of the lab's inventory with this section."""
    inventory = yaml.safe_load(LAB.read_text())
    inventory["all"]["vars"]["cluster"]["dns"] = spec_dns
    (folder / "inventory.yaml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    loaded = load_inventory(folder / "inventory.yaml")
    spec = load_spec(loaded)
    cluster = ClusterVariables(loaded, spec, new_state("lab"), {}, paper_bundle(folder))
    shared = cluster._shared
    text = render_file(ROOT / "templates/coredns/coredns.yaml.j2", shared)
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def test_the_manifest_has_it_to_the_letter(tmp_path: Path) -> None:
    section = {
        "replicas": 3,
        "upstreams": ["10.1.1.1:53", "[FD00::53]:53"],
        "stub_domains": {"corp.example": ["10.1.1.1", "[fd00::53]:5353"]},
    }
    objects = rendered(section, tmp_path)
    text = objects["ConfigMap"]["data"]["Corefile"]
    assert text == USUAL.replace("/etc/resolv.conf", "10.1.1.1 fd00::53") + STUB
    assert objects["Deployment"]["spec"]["replicas"] == 3
    assert rendered({}, tmp_path)["Deployment"]["spec"]["replicas"] == 2


def test_the_lab_s_own(tmp_path: Path) -> None:
    assert load_cluster(LAB)[1].dns == PLAIN
