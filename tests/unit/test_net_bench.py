"""`bench net`: what the tools print is read as they mean it, pods are where they shall be, tables say what was found.

tests/data/bench has what iperf3 3.12 and sockperf 3.7 printed over a loopback device, with and without a server there.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.action.netbench import image_of, mode_of, placed, read_before
from provisioner.action.variables import NET_BENCH
from provisioner.bundle import catalogue
from provisioner.bundle.layout import Bundle, Image
from provisioner.engine.events import NetMeasured, PathMeasured
from provisioner.engine.journal import as_line
from provisioner.errors import InputError, ProvisionError
from provisioner.kube.bench_objects import CLIENT, FAR, NEAR, SERVICE, Placement, bench_objects
from provisioner.kube.bench_pods import BenchPods
from provisioner.kube.bench_tools import FAILED, Latency, parse_latency, parse_throughput
from provisioner.remote.outcome import Result
from provisioner.report.wording import lines_of
from provisioner.shell.script import Script
from provisioner.spec.load import load_cluster

ROOT = Path(__file__).parents[2]
SAID = {path.name: path.read_text() for path in (ROOT / "tests" / "data" / "bench").iterdir()}
PATH = PathMeasured(
    path="same-node", source="a", target="a", throughput=21.9e9, retransmits=123, p50=13.7, p90=15.9, p99=62.2, count=9,
)  # fmt: skip


def test_what_arrived_is_the_throughput() -> None:
    found = parse_throughput(SAID["iperf3.json"])
    end = json.loads(SAID["iperf3.json"])["end"]
    assert found.bits_per_second == end["sum_received"]["bits_per_second"] > 1e9
    assert found.retransmits == end["sum_sent"]["retransmits"]


def test_percentiles_are_those_of_whole_round_trips() -> None:
    assert parse_latency(SAID["sockperf.txt"]) == Latency(13.750, 16.614, 162.510, 23068)
    assert "avg-rtt" in SAID["sockperf.txt"], "recorded without --full-rtt it would be half of it"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("iperf3-refused.json", "unable to connect to server: Connection refused"),
        ("iperf3-busy.json", "the server is busy running a test"),
        ("sockperf-refused.txt", "Can`t connect socket"),
    ],
)
def test_a_tool_that_reached_nobody_is_asked_again_and_then_quoted(name: str, says: str) -> None:
    assert re.search(FAILED, SAID[name])
    with pytest.raises(ProvisionError, match=says):
        (parse_throughput if "iperf3" in name else parse_latency)(SAID[name])


@pytest.mark.parametrize("name", ["iperf3.json", "sockperf.txt"])
def test_a_tool_that_measured_is_not_asked_again(name: str) -> None:
    assert not re.search(FAILED, SAID[name])


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "{}", '{"end": {"sum_received": 3}}', SAID["sockperf.txt"][:300]]
)
def test_what_is_cut_off_is_no_measurement(text: str) -> None:
    for parse in (parse_throughput, parse_latency):
        with pytest.raises(ProvisionError, match="did not say what it measured"):
            parse(text)


def test_pods_are_on_the_nodes_that_are_measured() -> None:
    service, *pods = bench_objects("run", "image", Placement("a", "b"))
    assert {each["metadata"]["name"]: each["spec"]["nodeName"] for each in pods} == {
        CLIENT: "a",
        NEAR: "a",
        FAR: "b",
    }
    behind = service["spec"]["selector"]
    chosen = [
        each["metadata"]["name"] for each in pods if behind.items() <= each["metadata"]["labels"].items()
    ]
    assert chosen == [FAR]
    for each in pods:
        for container in each["spec"]["containers"]:
            assert container["securityContext"]["runAsNonRoot"]
            assert container["command"][0] in {"sleep", "iperf3", "sockperf"}


def test_with_one_node_the_service_leads_to_it() -> None:
    service, *pods = bench_objects("run", "image", Placement("a"))
    assert [each["metadata"]["name"] for each in pods] == [CLIENT, NEAR]
    assert service["spec"]["selector"]["bench"] == NEAR


def test_workers_are_measured_before_control_planes(tmp_path: Path) -> None:
    inventory, spec = load_cluster(ROOT / "inventories" / "lab.yaml")
    assert placed(inventory, spec) == Placement("worker1", "worker2")
    one = replace(spec, nodes={name: node for name, node in spec.nodes.items() if name != "worker2"})
    assert placed(inventory, one) == Placement("worker1", "cp1")
    assert mode_of(spec) == "flannel vxlan"


def test_the_image_is_the_bundles_own(tmp_path: Path) -> None:
    _, spec = load_cluster(ROOT / "inventories" / "lab.yaml")
    image = Image(NET_BENCH, "1", "sha256:ab", b"", "", ())
    found = image_of(spec, Bundle(tmp_path, "", (image,)))
    assert found == f"{spec.registry.host}:{spec.registry.port}/provision/net-bench@sha256:ab"
    with pytest.raises(ProvisionError, match="has no image localhost/provision/net-bench") as caught:
        image_of(spec, Bundle(tmp_path, "", ()))
    assert "bundle build" in caught.value.hint
    (recipe,) = (each for each in catalogue.load() if each.reference == NET_BENCH)
    assert recipe.own
    assert recipe.image is not None
    assert {"iperf3", "sockperf"} <= {path.rpartition("/")[2] for path in recipe.image.debian.programs}


def test_the_table() -> None:
    far = replace(PATH, path="other-node", target="b", throughput=941e6, p50=101.0, p90=1200.25, p99=2000.0)
    event = NetMeasured(cluster="lab", network="flannel vxlan", seconds=3, mtu=1450, paths=(PATH, far))
    assert [" ".join(line.text.split()) for line in lines_of(event)] == [
        "path from to throughput resent p50 p90 p99 round trips",
        "same-node a a 21.90 Gbit/s 123 13.7 µs 15.9 µs 62.2 µs 9",
        "other-node a b 941 Mbit/s 123 101.0 µs 1200.2 µs 2000.0 µs 9",
        "lab: flannel vxlan, pods' MTU 1450; one TCP stream, then one round trip after the other, 3 s each",
    ]


def measured(*paths: PathMeasured, before: tuple[PathMeasured, ...] = ()) -> NetMeasured:
    return NetMeasured(cluster="lab", network="x", seconds=1, mtu=1, paths=paths, before=before)


def test_an_earlier_run_is_read_and_compared(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    earlier = replace(PATH, throughput=10.95e9, p50=27.4, p90=15.9, p99=0.0)
    file.write_text("no json\n" + as_line(measured(PATH)) + "\n" + as_line(measured(earlier)) + "\n")
    before = read_before(file)
    assert [each.p50 for each in before] == [27.4], "the last one counts"
    lines = [" ".join(line.text.split()) for line in lines_of(measured(PATH, before=before))]
    assert lines[2:5] == [
        "now, as a multiple of before (of throughput more is better, of round trips less):",
        "path throughput p50 p90 p99 throughput before p50 before",
        "same-node 2.00 0.50 1.00 - 10.95 Gbit/s 27.4 µs",
    ]
    others = (replace(PATH, path="service"),)
    assert "none of these paths" in lines_of(measured(PATH, before=others))[2].text


@pytest.mark.parametrize(
    "text", ["", "{}", '{"event": "NetMeasured"}', '{"event": "NetMeasured", "paths": [{}]}', "[]"]
)
def test_a_file_without_a_measurement_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "before.json"
    file.write_text(text)
    with pytest.raises(InputError, match="no measurement"):
        read_before(file)


class Host:
    """Answers one thing after the other; keeps what it was asked."""

    host = "cp1"

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = [Result(status, json.dumps(said).encode(), b"why", 0.0) for status, said in answers]
        self.asked: list[Script] = []

    def run(self, script: Script, *, deadline: float = 0.0) -> Result:
        self.asked.append(script)
        return self.answers.pop(0)


def there(*, run: str = "run", **without: str) -> dict[str, Any]:
    items = []
    for each in bench_objects(run, "image", Placement("a", "b")):
        each["metadata"]["uid"] = each["metadata"]["name"]
        if each["kind"] == "Pod":
            each["status"] = {
                "podIPs": [{"ip": "fd00::1"}, {"ip": "10.244.1.2"}],
                "conditions": [{"type": "Ready", "status": "True"}],
            }
        else:
            each["spec"]["clusterIP"] = "10.96.0.7"
        if each["metadata"]["name"] not in without.values():
            items.append(each)
    return {"items": items}


def test_addresses_are_those_of_this_run() -> None:
    pods = BenchPods("run", "image", Placement("a", "b"))
    host = Host((3, there(run="other")), (0, there()))
    found = pods.set_up(host)
    assert found.pods == {NEAR: "10.244.1.2", FAR: "10.244.1.2"}
    assert found.service == "10.96.0.7"
    assert len(host.asked) == 2


@pytest.mark.parametrize("lost", [CLIENT, FAR, SERVICE])
def test_what_went_away_is_named(lost: str) -> None:
    with pytest.raises(ProvisionError, match=f"went away: {lost}"):
        BenchPods("run", "image", Placement("a", "b")).set_up(Host((0, there(lost=lost))))


def test_an_image_that_the_registry_lacks_is_told_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.kube.complaints.STUCK", 0.0)
    state = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    items = there()
    for each in items["items"]:
        if each["kind"] == "Pod":
            each["status"] = {"containerStatuses": [{"state": state}]}
    with pytest.raises(ProvisionError, match="bench-far on b: ErrImagePull: not found") as caught:
        BenchPods("run", "image", Placement("a", "b")).set_up(Host((3, items)))
    assert caught.value.reason.startswith("the pods of the measurement do not run")
    assert "--stage images" in caught.value.hint
