"""What `provision advise` advises: a table of sites, and the table of rules itself."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provisioner.action.advise import fault_of, site_of
from provisioner.action.advisereleases import releases_in
from provisioner.bundle import catalogue, oci, publish, write
from provisioner.bundle.archive import Entry, write_archive
from provisioner.bundle.publish import Layer
from provisioner.bundle.store import Store
from provisioner.engine.advice import UNKNOWN, Advice
from provisioner.errors import InputError
from provisioner.network.advicetable import Choice, advice_table
from provisioner.network.advise import judge
from provisioner.network.needs import needs_of, network_needs
from provisioner.network.section import network_of, section_of
from provisioner.network.site import Site
from provisioner.spec.calico import TYPHA_NODES, Calico
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec
from provisioner.spec.versions import PLUGINS

DATA = Path(__file__).parents[1] / "data"
CASES: list[dict[str, Any]] = yaml.safe_load((DATA / "advice.yaml").read_text())
BASE: dict[str, Any] = yaml.safe_load((DATA / "spec" / "base.yaml").read_text())
TABLE = advice_table()
BUILT = releases_in("/without a bundle")
DUAL = ("10.244.0.0/16", "fd00:10:244::/56")


def site(case: dict[str, Any]) -> Site:
    further = {
        name: frozenset(value)
        if name == "architectures"
        else tuple(value)
        if isinstance(value, list)
        else value
        for name, value in case.get("further", {}).items()
    }
    for question in TABLE.questions:
        assert fault_of(question, case["site"].get(question.name, UNKNOWN)) is None, question.name
    unknown = {each.name: UNKNOWN for each in TABLE.questions}
    return site_of(unknown | case["site"], {"releases": BUILT} | further)


def loaded(folder: Path, section: dict[str, Any]) -> ClusterSpec:
    """The base's cluster with this section, as it would be read from a file."""
    data = yaml.safe_load(yaml.safe_dump(BASE))
    data["all"]["vars"]["cluster"]["network"] = section
    path = folder / "inventory.yaml"
    path.write_text(yaml.safe_dump(data))
    return load_cluster(path)[1]


@pytest.mark.parametrize("case", [each for each in CASES if "advice" in each], ids=lambda case: case["name"])
def test_what_is_advised(case: dict[str, Any], tmp_path: Path) -> None:
    advice = judge(site(case), TABLE)
    assert advice.name == case["advice"]
    assert advice.reasons_for or advice.reasons_against
    own = advice.section[advice.plugin]
    assert own == case.get("section", own)
    others = {each.name: each for each in advice.alternatives}
    for name, part in case.get("out", {}).items():
        assert others[name].ruled_out is (part is not None)
        assert not part or part in " ".join(reason.text for reason in others[name].reasons)
    assert case.get("fill_in", "") in " ".join(advice.fill_in)
    better = {each.name: " ".join(reason.text for reason in each.reasons) for each in advice.better}
    assert better.keys() == case.get("better", {}).keys()
    assert all(part in better[name] for name, part in case.get("better", {}).items())


@pytest.mark.parametrize("case", [each for each in CASES if "told" in each], ids=lambda case: case["name"])
def test_contradictions_are_told(case: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        judge(site(case), TABLE)
    assert [str(each) for each in caught.value.problems] == case["told"]


def test_kernels_are_judged_by_the_releases_in_the_bundle() -> None:
    """Calico wants another one from 3.29 on."""
    assert BUILT["calico"] == (3, 28)
    for releases, lacks in ((BUILT, False), (BUILT | {"calico": (3, 32)}, True)):
        advice = judge(Site(kernel=(4, 19), policy="no", releases=releases), TABLE)
        said = {each.name: [reason.text for reason in each.reasons] for each in advice.alternatives}
        told = "it needs Linux 5.10, and there is 4.19" in said.get("calico-ipip", [])
        assert told is lacks


def test_releases_are_those_of_the_bundle(tmp_path: Path) -> None:
    """What is not in it would be built."""
    store = Store(tmp_path / "store")
    component = next(each for each in catalogue.load() if each.name == "calico-node")
    with store.workspace() as workspace:
        diff_id = write_archive([Entry("/program", data=b"")], workspace / "layer")
        layer = Layer(store.add_file(workspace / "layer", oci.LAYER), diff_id)
        image = publish.image(replace(component, tag="v3.32.1"), [layer], "module", store)
    write.write_bundle([image], store, tmp_path / "bundle")
    assert releases_in(str(tmp_path / "bundle")) == {**BUILT, "calico": (3, 32)}
    (tmp_path / "bundle" / "index.json").write_text("{")
    assert releases_in(str(tmp_path / "bundle")) == BUILT, "that it is broken is told by those who want it"


def test_every_choice_is_named_once() -> None:
    advice = judge(Site(policy="yes"), TABLE)
    named = [advice.name, *(each.name for each in advice.alternatives)]
    assert sorted(named) == sorted(
        [*(each.name for each in TABLE.choices), *(each.name for each in TABLE.elsewhere)]
    )
    assert all(each.reasons for each in advice.alternatives)
    possible = [each.ruled_out for each in advice.alternatives if each.installable]
    assert possible == sorted(possible), "those that would do come first"


@pytest.mark.parametrize("choice", TABLE.choices, ids=lambda choice: choice.name)
@pytest.mark.parametrize("cidrs", [DUAL[:1], DUAL], ids=["ipv4", "dual"])
def test_every_section_is_a_right_one(choice: Choice, cidrs: tuple[str, ...], tmp_path: Path) -> None:
    if len(cidrs) > 1 and choice.traits & {"ipip", "udp"}:
        assert any(rule.out and rule.about & choice.traits and "ipv6" in rule.when for rule in TABLE.rules)
        return
    services = ("10.96.0.0/16", "fd00:10:96::/112")[: len(cidrs)]
    there = Site(pod_cidrs=cidrs, service_cidrs=services, mtu=9000, mtus_differ=True)
    section = section_of(choice, there)
    spec = loaded(tmp_path, section)
    assert network_of(section) == spec.network, "what is judged is what is read"
    assert network_needs(spec.network, 3) == needs_of(spec)
    assert spec.network.plugin == choice.plugin


def test_mtu_is_written_where_it_would_not_be_found(tmp_path: Path) -> None:
    choices = {each.name: each for each in TABLE.choices}

    def mtu(name: str, **known: Any) -> int | None:
        section = section_of(choices[name], Site(mtu=1500, **known))
        written: int | None = section[choices[name].plugin].get("mtu")
        return written

    assert mtu("calico-vxlan") is None
    odd: dict[str, Any] = {"odd_links": ("bond0",)}
    assert [mtu(f"calico-{name}", **odd) for name in ("vxlan", "ipip", "bgp", "wireguard")] == [
        1450,
        1480,
        1500,
        1440,
    ]
    assert mtu("calico-vxlan", pod_cidrs=DUAL, **odd) == 1430
    assert mtu("flannel-vxlan", **odd) is None, "flannel takes the link's, whatever its name"
    assert mtu("flannel-vxlan", mtus_differ=True) == 1500, "flannel wants the hosts' MTU"
    assert mtu("flannel-host-gw", mtus_differ=True) is None, "it has no such option"
    assert mtu("flannel-vxlan", pod_cidrs=DUAL) is None, "1500 is what it is told"
    assert section_of(choices["flannel-vxlan"], Site(mtu=9000, pod_cidrs=DUAL))["flannel"]["mtu"] == 9000


def test_what_an_inventory_says_stays() -> None:
    pool = {"name": "p", "cidr": "10.244.0.0/17", "encapsulation": "IPIP"}
    written = {
        "plugin": "flannel",
        "node_cidr_mask": 25,
        "flannel": {"backend": "vxlan", "vni": 7, "interface": "eth1"},
        "calico": {"autodetection": "cidr=10.0.0.0/8", "pools": [pool]},
    }
    choices = {each.name: each for each in TABLE.choices}
    there = Site(written=written, pod_cidrs=("10.244.0.0/16",))
    flannel = section_of(choices["flannel-host-gw"], there)
    assert flannel["node_cidr_mask"] == 25
    assert flannel["flannel"] == {"backend": "host-gw", "interface": "eth1"}
    assert "calico" not in flannel
    calico = section_of(choices["calico-direct"], there)["calico"]
    assert calico["pools"] == [{"name": "p", "cidr": "10.244.0.0/17"}]
    assert calico["autodetection"] == "cidr=10.0.0.0/8"
    assert network_of(section_of(choices["calico-direct"], there)).calico.encapsulations == {
        "VXLANCrossSubnet"
    }


def test_figures_are_those_that_bear_on_it() -> None:
    plain, encrypted = judge(Site(policy="no"), TABLE), judge(Site(policy="yes", encryption="yes"), TABLE)
    assert list(plain.measured[0].rows) == ["baremetal", "flannel", "calico", "cilium"]
    assert plain.measured[0].own == ("flannel",)
    assert plain.measured[0].rows["flannel"] == (19.8, 38.9, 1182)
    assert {"calico-wg", "cilium-wg"} <= set(encrypted.measured[0].rows)
    assert encrypted.measured[0].own == ("calico-wg",)
    for run in plain.measured:
        assert run.date
        assert run.hardware
        assert run.url.startswith("https://")
        assert run.rows.keys() == run.modes.keys()
        assert all(len(figures) == len(run.columns) for figures in run.rows.values())
    odd = judge(Site(policy="no", encryption="yes"), TABLE)
    assert any("no published figures are known of flannel, WireGuard" in each for each in odd.remarks)


def test_the_table_names_what_there_is() -> None:
    traits = frozenset[str]().union(*(each.traits for each in TABLE.choices))
    words = {each.name: {*each.choices, UNKNOWN} for each in TABLE.questions if each.choices}
    words |= {"proxy": {"nftables"}, "ipv6": {"yes", "no"}}
    attributes = {each.name for each in fields(Site)} | {"ipv6"}
    whens = [*(each.when for each in TABLE.rules), *(each.when for each in TABLE.contradictions)]
    whens += [each.fits[0] for each in TABLE.elsewhere if each.fits]
    whens += [when for each in TABLE.elsewhere for when, _ in each.against]
    for when in whens:
        assert when.keys() <= attributes
        for name, wanted in when.items():
            asked = set(wanted) if isinstance(wanted, list) else {wanted}
            assert asked <= words[name] if name in words else str(wanted)[0] in "<>"
    for rule in TABLE.rules:
        assert rule.about <= traits
        assert rule.reason.source
        assert not (rule.out and rule.points)
    # canal is both of them at once, for those who have flannel's network already and want policies; no bundle has
    # Cilium's images by itself.
    proposed, others = {each.plugin for each in TABLE.choices}, {each.name for each in TABLE.elsewhere}
    assert proposed | {"canal", "cilium"} == set(PLUGINS), "what can be installed, and nothing else"
    assert others & set(PLUGINS) <= {"canal", "cilium"}
    assert not proposed & others
    bundled = {each.version for each in catalogue.load() if each.name == "calico"}
    assert [each.startswith("v3.28.") for each in bundled] == [True], "the rule on proxy: nftables names it"


@pytest.mark.parametrize("nodes", [TYPHA_NODES - 1, TYPHA_NODES, TYPHA_NODES + 1])
def test_typha_is_spoken_of_where_it_is_set_up(nodes: int) -> None:
    advice = judge(Site(policy="yes", nodes=nodes), TABLE)
    assert advice.plugin == "calico"
    said = [each.text for each in advice.reasons_for if "Typha" in each.text]
    assert bool(said) == Calico().with_typha(nodes)
    assert all(f"above {TYPHA_NODES} nodes" in each for each in said)


@given(
    st.sampled_from(TABLE.questions), st.text(max_size=12) | st.from_regex(r"[0-9vxlan,. ]*", fullmatch=True)
)
def test_any_text_is_an_answer_or_told(question: Any, text: str) -> None:
    if fault_of(question, text) is None:
        answers = {each.name: UNKNOWN for each in TABLE.questions} | {question.name: text}
        with suppress(InputError):  # it is not always what a host can do
            assert isinstance(judge(site_of(answers, {}), TABLE), Advice)
