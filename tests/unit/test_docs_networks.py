"""docs/networks.md: plug-in, mode, and how it is proved, made of the tables of the tests that prove it.

`PROVISION_WRITE_DOCS=1 pytest tests/unit/test_docs_networks.py` writes it anew; `PROVISION_WRITE_DOCS=1 make soak` also
writes down which of the long tests have passed (tests/unit/seen.py).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from seen import passed, record

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "networks.md"
HEAD = """# Pod networks, and how each mode is proved

Made by tests/unit/test_docs_networks.py from the tables of the tests that are named; it is no word about what might
work. A date is the last day on which the test was seen to pass, and "a test" says that there is one, and no more: the
long ones are no part of each run, one with PROVISION_WRITE_DOCS=1 writes down what it has seen (tests/data/seen.json).

- **traffic**: a cluster on real hosts comes up with it, and the whole traffic gate passes: pods, services, node ports
  and DNS between all nodes; a second apply changes nothing (tests/cluster/test_networks.py, part of `make soak`).
- **on the wire**: packets of the tunnel are counted there on every node; "plain": within a subnet none
  of them is seen, and those of pods are, as they were sent.
- **across a router**: a lab with two subnets: what crosses the router is in the tunnel, what stays in its subnet is
  not.
- **accepted**: what is rendered for it from every version of the manifests at hand is taken by a real API server's dry
  run (tests/cluster/test_accepted.py). Of Calico's those are calico.yaml, calico-typha.yaml, calico-policy-only.yaml,
  canal.yaml and tigera-operator.yaml: calico-vxlan.yaml and custom-resources.yaml are what edits of these make,
  calico-etcd.yaml and calico-bpf.yaml are for another store and another data plane.
  Cilium's images need a compiler for the kernel's programs, and their publisher: it is rendered and taken, not run.
- **refused**: what the lab's kernel lacks, or the bundle's image, is named before anything is changed.

Calico for policies alone is `policy_only: true`, where routers that are not of the cluster know the way to each node's
pod CIDR (the test lays those routes), and `plugin: canal`, where flannel carries packets.

| plug-in | mode | traffic | on the wire | across a router | accepted | refused |
| --- | --- | --- | --- | --- | --- | --- |
"""


ATTACHED = """
## Networks beside the pods' own

NetworkAttachmentDefinitions, for multus.

- **packets**: the plug-in of the bundle is run with exactly what is rendered (ADD, CHECK and DEL) in network
  namespaces, and pods reach each other, or the network beyond the host, as the mode has it
  (tests/hosts/test_attachments.py).
- **accepted**: multus' own manifests, thin and thick, as they are changed, and the definition are taken by a real API
  server (tests/cluster/test_accepted.py).

multus itself has run on no cluster of the tests: it is published as an image alone, which the bundle takes only where
its publisher answers.

| type | packets | accepted |
| --- | --- | --- |
"""
_MACVLAN = "test_pods_on_macvlan_reach_each_other_as_the_mode_has_it"
PACKETS = {
    "macvlan bridge": f"{_MACVLAN}[bridge-True-True]",
    "macvlan private": f"{_MACVLAN}[private-False-False]",
    "macvlan vepa": f"{_MACVLAN}[vepa-False-True]",
    "macvlan passthru": "test_macvlan_passthru_is_for_one_pod",
    "ipvlan l2": "test_ipvlan[l2]",
    "ipvlan l3": "test_ipvlan[l3]",
    "bridge": "test_bridge_with_a_gateway_and_a_route",
    "bridge with a VLAN": "test_vlans_of_a_bridge_are_apart",
    "host-device": "test_a_device_of_the_host_moves_into_the_pod_and_back",
}
"""Which test of tests/hosts/test_attachments.py has it."""
CHOOSY = {
    **{f"ipvlan {mode}": "ipvlan" for mode in ("l2", "l3")},
    "bridge with a VLAN": "a bridge that filters VLANs",
}
"""What a kernel may lack; then the test sees the plug-in refuse it."""


def attached() -> Iterator[tuple[str, ...]]:
    import test_accepted

    # One test takes them all, of each version at hand.
    days = [day for test, day in passed().items() if "::test_attachments_accepted[" in test]
    said = min(days, default="a test")
    for name in test_accepted.ATTACHMENTS:
        day = (
            passed().get(f"tests/hosts/test_attachments.py::{PACKETS[name]}", "a test")
            if name in PACKETS
            else ""
        )
        lacking = f", or refused where the kernel lacks {CHOOSY[name]}" if name in CHOOSY else ""
        yield name, f"{day}{lacking}", said


def _seen(test: str, name: str) -> str:
    return passed().get(f"tests/cluster/test_networks.py::{test}[{name}]", "a test")


def _accepted(plugin: str) -> str:
    """One test takes all modes of a version: the day of the one that was seen longest ago."""
    prefix = "tests/cluster/test_accepted.py::test_accepted["
    days = [day for test, day in passed().items() if test.startswith(prefix) and f"-{plugin}-" in test]
    return min(days, default="a test")


def rows() -> Iterator[tuple[str, ...]]:
    sys.path.insert(0, str(ROOT / "tests" / "cluster"))
    try:
        import test_accepted
        import test_networks
    finally:
        sys.path.pop(0)
    proved = {mode.name: mode for mode in test_networks.MODES}
    between = {mode.name for mode in test_networks.BETWEEN}
    lacking = {mode.name for mode, _ in test_networks.LACKING}
    accepted = [f"flannel {name}" for name in test_accepted.FLANNEL]
    accepted += [f"Calico {name}" for name in test_accepted.CALICO]
    accepted += [f"Cilium {name}" for name in test_accepted.CILIUM]
    accepted += [f"canal {name}" for name in test_accepted.CANAL]
    accepted += [f"{name.replace('calico', 'Calico')}, two families" for name in test_accepted.TWO_FAMILIES]
    for name in dict.fromkeys([*accepted, *proved]):
        plugin, _, mode = name.partition(" ")
        seen = proved.get(name)
        yield (
            plugin,
            mode,
            _seen("test_a_mode", name) if seen else "",
            (f"plain (no {seen.tunnel})" if seen.plain else seen.tunnel) if seen else "",
            _seen("test_only_what_crosses_the_router_is_encapsulated", name) if name in between else "",
            _accepted(plugin.lower()) if name in accepted else "",
            _seen("test_what_is_lacking_is_told_before_anything_changes", name) if name in lacking else "",
        )


def page() -> str:
    pods, beside = ("".join(f"| {' | '.join(row)} |\n" for row in table) for table in (rows(), attached()))
    return HEAD + pods + ATTACHED + beside


def test_the_page_is_what_the_tests_prove() -> None:
    text = page()
    if os.environ.get("PROVISION_WRITE_DOCS") == "1":
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text, "PROVISION_WRITE_DOCS=1 writes it anew"


def test_what_passed_is_written_down_until_it_fails(tmp_path: Path) -> None:
    file = tmp_path / "seen.json"
    file.write_text("{}")
    test = "tests/cluster/test_networks.py::test_a_mode[flannel vxlan]"
    record(test, good=True, file=file)
    record("tests/unit/test_spec.py::test_x", good=True, file=file)
    assert list(json.loads(file.read_text())) == [test]
    record(test, good=False, file=file)
    assert json.loads(file.read_text()) == {}


def test_every_test_that_is_written_down_is_there() -> None:
    """A mode of another name would be told of by nothing."""
    for test in [*passed(), *(f"tests/hosts/test_attachments.py::{each}" for each in PACKETS.values())]:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(), test
