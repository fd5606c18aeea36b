"""What users have made of a plug-in's own kinds outlives its absence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from localhost import LocalSession
from migrations import CALICO, FLANNEL, change

from provisioner.errors import ProvisionError
from provisioner.kube.atstake import OWN
from provisioner.kube.objects import object_key
from provisioner.kube.ownobjects import keep_own, kept_own, lost_own, restore_own
from provisioner.network.calicoresources import bgp_keys

FILE = "own/var/lib/provision/migration/own-calico.json"
KUBECTL = """#!/bin/sh
[ ! -e {root}/silent ] || exit 1
case " $* " in
*" get crd "*" custom-columns="*) cat {root}/kinds ;;
*" get crd "*) cat {root}/names ;;
*" get namespaces"*) cat {root}/there ;;
*" get configmap "*) sed -n 's/.*"names": "\\(.*\\)".*/\\1/p' {root}/note 2>/dev/null | sed 's/\\\\n/\\n/g' ;;
*" delete configmap "*) rm -f {root}/note ;;
*" apply "*) for each; do case $each in */note) cp "$each" {root}/note ;; esac; done ;;
*" create -f "*) for each; do case $each in */own) cp "$each" {root}/created ;; esac; done ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


def item(kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "uid": "u", "resourceVersion": "1"} | (
        {"namespace": namespace} if namespace else {}
    )
    return {"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": metadata, **more}


SHOP, DEFAULT = item("Namespace", "shop"), item("Namespace", "default")
POLICY = item("NetworkPolicy", "deny", "shop", spec={"order": 1})
GLOBAL, TIER = item("GlobalNetworkPolicy", "all"), item("Tier", "security")
ENDPOINT, AUTOMATIC = item("HostEndpoint", "eth0"), item("HostEndpoint", "cp1-auto-hep")
BUILT_IN = item("Tier", "default")
KINDS = ("Tier", "GlobalNetworkPolicy", "NetworkPolicy", "HostEndpoint")
ROUTED = {
    "pools": [{"name": "pods", "cidr": "10.244.128.0/17", "encapsulation": "None"}],
    "bgp": {"peers": [{"name": "rack", "address": "10.98.0.1", "as_number": 64513}]},
}
USERS = ["GlobalNetworkPolicy all", "HostEndpoint eth0", "NetworkPolicy shop/deny", "Tier security"]


class Plane(LocalSession):
    """This machine, with a kubectl that knows what `there` says."""

    def there(self, *items: dict[str, Any], kinds: tuple[str, ...] = KINDS) -> Plane:
        (self.root / "kinds").write_text("".join(f"{each}\n" for each in kinds))
        (self.root / "names").write_text("".join(f"crd/{each.lower()}s\n" for each in kinds))
        (self.root / "there").write_text(json.dumps({"kind": "List", "items": items}))
        path = self.root / "kubectl"
        path.write_text(KUBECTL.format(root=self.root))
        path.chmod(0o755)
        return self

    @property
    def created(self) -> list[str]:
        path = self.root / "created"
        return named(json.loads(path.read_text())["items"]) if path.exists() else []

    def _text(self, text: str) -> str:
        return super()._text(text).replace("/opt/kubernetes/bin/kubectl", f"{self.root}/kubectl")


def named(items: list[dict[str, Any]]) -> list[str]:
    return [
        f"{each['kind']} "
        + "/".join(filter(None, (each["metadata"].get("namespace"), each["metadata"]["name"])))
        for each in items
    ]


@pytest.fixture(params=["dash", "busybox"])
def plane(tmp_path: Path, request: pytest.FixtureRequest) -> Plane:
    return Plane(tmp_path, request.param)


@pytest.fixture
def left(plane: Plane) -> Plane:
    """The plug-in has left, with all that was there of it."""
    plane.there(SHOP, DEFAULT, ENDPOINT, POLICY, GLOBAL, TIER, BUILT_IN, AUTOMATIC)
    keep_own([plane], "calico")
    return plane


def test_what_users_have_made_is_kept_as_they_made_it(left: Plane) -> None:
    kept = kept_own([left], "calico")
    assert sorted(named(kept)) == USERS
    assert [each for each in kept if each["kind"] == "NetworkPolicy"] == [
        {**POLICY, "metadata": {"name": "deny", "namespace": "shop"}}
    ]
    assert (left.root / FILE).stat().st_mode & 0o077 == 0


def test_it_is_created_again_and_forgotten(left: Plane) -> None:
    left.there(SHOP, BUILT_IN)
    assert restore_own([left], "calico") == []
    assert sorted(left.created) == USERS
    assert left.created[-1] == "HostEndpoint eth0"
    assert not (left.root / FILE).exists()
    (left.root / "created").unlink()
    assert restore_own([left], "calico") == []
    assert left.created == []


def test_what_is_there_by_now_stays_as_it_is(left: Plane) -> None:
    left.there(SHOP, {**POLICY, "spec": {"order": 2}}, TIER, ENDPOINT)
    assert restore_own([left], "calico") == []
    assert left.created == ["GlobalNetworkPolicy all"]


def test_what_has_no_place_any_more_is_told(left: Plane) -> None:
    left.there(DEFAULT, kinds=("GlobalNetworkPolicy", "NetworkPolicy", "HostEndpoint"))
    homeless = ["NetworkPolicy shop/deny", "Tier security"]
    assert restore_own([left], "calico") == homeless
    assert left.created == ["GlobalNetworkPolicy all", "HostEndpoint eth0"]
    assert sorted(named(kept_own([left], "calico"))) == homeless, "it waits on"
    left.there(SHOP, GLOBAL, ENDPOINT)
    assert restore_own([left], "calico") == []
    assert left.created == ["NetworkPolicy shop/deny", "Tier security"]
    assert not (left.root / FILE).exists()


def test_what_closes_a_host_waits_for_the_other_network_to_be_gone(left: Plane) -> None:
    left.there(SHOP)
    assert restore_own([left], "calico", hosts=False) == []
    assert sorted(left.created) == [each for each in USERS if each != "HostEndpoint eth0"]
    assert named(kept_own([left], "calico")) == ["HostEndpoint eth0"]
    left.there(SHOP, POLICY, GLOBAL, TIER)
    assert restore_own([left], "calico") == []
    assert left.created == ["HostEndpoint eth0"]
    assert not (left.root / FILE).exists()


def test_a_plug_in_that_leaves_before_they_were_created_again_loses_none(left: Plane) -> None:
    left.there(SHOP, {**GLOBAL, "spec": {"order": 9}}, kinds=KINDS)
    keep_own([left], "calico")
    kept = kept_own([left], "calico")
    assert sorted(named(kept)) == USERS
    assert [each["spec"] for each in kept if each["kind"] == "GlobalNetworkPolicy"] == [{"order": 9}]
    left.there(kinds=())
    keep_own([left], "calico")
    assert sorted(named(kept_own([left], "calico"))) == USERS


def test_nothing_is_forgotten_while_the_api_server_does_not_answer(left: Plane) -> None:
    (left.root / "silent").touch()
    with pytest.raises(ProvisionError):
        restore_own([left], "calico")
    with pytest.raises(ProvisionError):
        keep_own([left], "calico")
    assert sorted(named(kept_own([left], "calico"))) == USERS


@pytest.fixture
def three(left: Plane, tmp_path: Path) -> list[Plane]:
    """Three control planes, when the plug-in has left."""
    others = []
    for name in ("cp2", "cp3"):
        (tmp_path / name).mkdir()
        others.append(Plane(tmp_path / name, left.shell, name))
    keep_own([left, *others], "calico")
    return [left, *others]


def lost(planes: list[Plane]) -> list[str]:
    return lost_own(planes[0], "calico", [object_key(each) for each in kept_own(planes, "calico")])


def test_it_is_created_again_when_the_first_control_plane_is_another_one(three: list[Plane]) -> None:
    first, *rest = three
    (first.root / FILE).unlink()
    again = rest[0].there(SHOP, BUILT_IN)
    (first.root / "note").rename(again.root / "note")
    assert sorted(named(kept_own(rest, "calico"))) == USERS
    assert lost(rest) == []
    assert restore_own(rest, "calico") == []
    assert sorted(again.created) == USERS
    assert not any((each.root / FILE).exists() for each in three)
    assert lost(rest) == []


def test_the_newest_file_counts(three: list[Plane]) -> None:
    first = three[0].there(SHOP, {**POLICY, "spec": {"order": 2}})
    keep_own([first], "calico")  # killed before it came to the others
    for planes in (three, three[::-1]):
        orders = [
            each["spec"]["order"] for each in kept_own(planes, "calico") if each["kind"] == "NetworkPolicy"
        ]
        assert orders == [2]


def test_what_no_control_plane_has_any_more_is_told(three: list[Plane]) -> None:
    for each in three:
        (each.root / FILE).unlink()
    assert lost(three) == USERS
    three[0].there(SHOP)
    assert restore_own(three, "calico") == []
    assert lost(three) == [], "it is told once"


def test_where_users_have_made_nothing_nothing_is_left(plane: Plane) -> None:
    keep_own([plane.there(SHOP, BUILT_IN, AUTOMATIC)], "calico")
    assert not (plane.root / FILE).exists()
    assert not (plane.root / "note").exists()


def test_settings_of_users_are_kept_and_what_the_spec_makes_is_not(plane: Plane) -> None:
    kinds = ("BGPPeer", "BGPFilter", "IPReservation", "FelixConfiguration", "BGPConfiguration")
    assert {f"{each.lower()}s.crd.projectcalico.org" for each in kinds} <= {*OWN["calico"]}
    spec = change({**CALICO, "calico": ROUTED}, FLANNEL).old
    items = [item(kind, name) for kind in kinds for name in ("default", "rack", "node.cp1")]
    keep_own([plane.there(*items, kinds=kinds)], "calico", bgp_keys(spec.network))
    left_out = {"BGPPeer rack", "FelixConfiguration default", "BGPConfiguration default"}
    assert {*named(kept_own([plane], "calico"))} == {*named(items)} - left_out


def test_a_policy_that_is_called_like_an_automatic_endpoint_is_a_users(plane: Plane) -> None:
    policy = item("GlobalNetworkPolicy", "default.block-auto-hep")
    keep_own([plane.there(policy, AUTOMATIC)], "calico")
    assert named(kept_own([plane], "calico")) == ["GlobalNetworkPolicy default.block-auto-hep"]


def test_flannel_has_no_kinds_of_its_own(plane: Plane) -> None:
    keep_own([plane], "flannel")
    assert restore_own([plane], "flannel") == []
    assert plane.execs == 0


def test_a_damaged_file_is_no_traceback(plane: Plane) -> None:
    (plane.root / FILE).parent.mkdir(parents=True)
    (plane.root / FILE).write_text("{")
    with pytest.raises(ProvisionError, match="is damaged"):
        kept_own([plane], "calico")
