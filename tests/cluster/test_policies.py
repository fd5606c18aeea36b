"""Policies of the spec under Calico, on a cluster of its own: what they allow passes, and nothing else does. And names
that others answer for."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from lab_cluster import ADMIN, BESIDE, LabCluster, is_verified, own_lab, provision, until
from test_networks import Mode, chosen

pytestmark = pytest.mark.soak

CALICO = "        calico: {encapsulation: VXLAN}\n"
SOME = """        policies:
          - {name: deny, kind: deny, namespaces: [shop]}
          - {name: isolate, kind: isolate, namespaces: [team-a, team-b]}
          - name: web
            namespaces: [shop]
            pods: {app: web}
            from:
              - {pods: {app: gateway}, ports: [8080]}
              - {pods: {app: client}, namespaces: [office], ports: [8080]}
          - {name: gateway, namespaces: [shop], pods: {app: gateway}, to: [{pods: {app: web}, ports: [8080]}]}
"""
MORE = SOME.replace("[team-a, team-b]", "[team-a, team-b, team-c, theirs]")
STUB = """      dns:
        replicas: 3
        stub_domains: {corp.example: ["10.96.0.53:5353"]}
"""
PODS = (
    "shop/web",
    "shop/gateway",
    "shop/other",
    "team-a/one",
    "team-a/two",
    "team-b/one",
    "office/client",
    "office/stranger",
)
REACHED, DROPPED = "", "TIMEOUT"
"""What agnhost says; where a name is not answered it would be "DNS: …", where nobody listens "REFUSED"."""
API = "kubernetes.default.svc.cluster.local:443"
WEB = "web.shop.svc.cluster.local:80"
Answers = Mapping[str, Mapping[str, str]]
WANTED: Answers = {
    # kind deny: nothing comes or goes, but names are answered.
    "shop/other": {
        API: DROPPED,
        "shop/web:8080": DROPPED,
        "shop/gateway:8080": DROPPED,
        "office/client:8080": DROPPED,
    },
    "office/stranger": {
        "shop/other:8080": DROPPED,
        "shop/web:8080": DROPPED,
        WEB: DROPPED,
        "team-a/one:8080": DROPPED,
        "office/client:8080": REACHED,
    },
    # kind isolate: among themselves.
    "team-a/one": {
        API: DROPPED,
        "team-a/two:8080": REACHED,
        "team-b/one:8080": DROPPED,
        "office/client:8080": DROPPED,
    },
    "team-b/one": {"team-a/one:8080": DROPPED},
    # What is allowed, and only at that port.
    "shop/gateway": {
        "shop/web:8080": REACHED,
        WEB: REACHED,
        "shop/web:8081": DROPPED,
        "shop/other:8080": DROPPED,
        "office/client:8080": DROPPED,
    },
    "office/client": {
        "shop/web:8080": REACHED,
        WEB: REACHED,
        "shop/web:8081": DROPPED,
        "shop/gateway:8080": DROPPED,
        API: REACHED,
    },
    "shop/web": {API: DROPPED, "shop/gateway:8080": DROPPED},
}
OPEN: Answers = {
    asker: {target: "REFUSED" if target.endswith(":8081") else REACHED for target in targets}
    for asker, targets in WANTED.items()
}


@pytest.fixture(scope="module")
def lab() -> Iterator[LabCluster]:
    with own_lab(f"policies-{BESIDE.partition('/')[0].replace('.', '-')}", subnet=BESIDE) as lab:
        yield lab


def with_spec(lab: LabCluster, folder: Path, spec: str) -> Path:
    """The inventory with Calico and `spec` behind it."""
    return chosen(lab, Mode("policies", "calico", CALICO + spec, "", ""), folder)


def applied(lab: LabCluster, objects: Sequence[Mapping[str, Any]]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    lab.one("cp1", f"cat <<'END' | {ADMIN} apply -f - >/dev/null\n{text}\nEND")


def namespaces(lab: LabCluster) -> set[str]:
    return {each["metadata"]["name"] for each in lab.objects("namespaces")}


def policies(lab: LabCluster) -> set[str]:
    meta = [each["metadata"] for each in lab.objects("networkpolicies -A")]
    return {f"{each['namespace']}/{each['name']}" for each in meta}


def pod(name: str, image: str) -> dict[str, Any]:
    namespace, _, own = name.partition("/")
    listening = {"name": "agnhost", "image": image, "args": ["netexec", "--http-port=8080"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": own, "namespace": namespace, "labels": {"app": own}},
        "spec": {"containers": [listening], "terminationGracePeriodSeconds": 1},
    }


def service(name: str, port: dict[str, Any], **more: str) -> dict[str, Any]:
    namespace, _, own = name.partition("/")
    spec = {"selector": {"app": own}, "ports": [port], **more}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": own, "namespace": namespace},
        "spec": spec,
    }


def asked(lab: LabCluster, questions: Answers) -> Answers:
    """What each pod is told when it connects to each of its targets: all of a pod's at once."""
    addresses = {
        f"{each['metadata']['namespace']}/{each['metadata']['name']}": each["status"]["podIP"]
        for each in lab.objects("pods -A")
    }
    answers: dict[str, dict[str, str]] = {}
    for asker, targets in questions.items():
        calls = []
        for number, target in enumerate(targets):
            name, _, port = target.rpartition(":")
            connect = f"/agnhost connect {addresses.get(name, name)}:{port} --timeout=3s 2>&1"
            calls.append(f'(m=$({connect} | head -n 1); echo "{number} $m") &')
        namespace, _, own = asker.partition("/")
        script = shlex.quote("\n".join([*calls, "wait"]))
        lines = lab.kubectl(f"-n {namespace} exec {own} -- sh -c {script}").splitlines()
        told = dict(line.strip().partition(" ")[::2] for line in lines)
        answers[asker] = {target: told[str(number)] for number, target in enumerate(targets)}
    return answers


def agree(lab: LabCluster, wanted: Answers, seconds: float = 60.0) -> None:
    """Rules are there a moment after objects are."""
    end = time.monotonic() + seconds
    while (found := asked(lab, wanted)) != wanted and time.monotonic() < end:
        time.sleep(1)
    assert found == wanted


def test_what_is_allowed_passes_and_nothing_else(lab: LabCluster, tmp_path: Path) -> None:
    lab.bare()
    done = lab.apply(inventory=with_spec(lab, tmp_path, SOME))
    assert is_verified(done), done
    assert {"shop", "team-a", "team-b"} <= namespaces(lab), "made, as nothing was in them yet"
    assert policies(lab) == {"shop/deny", "shop/web", "shop/gateway", "team-a/isolate", "team-b/isolate"}
    lab.kubectl("create namespace office")
    image = lab.agnhost()
    applied(
        lab, [service("shop/web", {"port": 80, "targetPort": 8080}), *(pod(each, image) for each in PODS)]
    )
    for namespace in ("shop", "team-a", "team-b", "office"):
        lab.kubectl(f"-n {namespace} wait --for=condition=Ready pod --all --timeout=280s")
    agree(lab, WANTED)


def test_policies_for_namespaces_that_come_later(lab: LabCluster, tmp_path: Path) -> None:
    """One that is not there, and one of somebody; the second run changes nothing."""
    lab.kubectl("create namespace theirs")
    inventory = with_spec(lab, tmp_path, MORE)
    done = lab.apply(inventory=inventory)
    assert is_verified(done), done
    assert {resource for _, resource, _ in done.changed} == {"manifest:policies"}
    assert {"team-c/isolate", "theirs/isolate"} <= policies(lab)
    again = lab.apply(inventory=inventory)
    assert (again.status, again.changed) == (0, set()), again
    agree(lab, WANTED)


def test_policies_that_left_the_spec_are_gone(lab: LabCluster, tmp_path: Path) -> None:
    """With them the namespace that was made for one and has nothing in it; not those in which others have things, nor
    one that was there before."""
    inventory = with_spec(lab, tmp_path, "")
    refused = lab.apply(inventory=inventory)
    assert refused.status == 1, "it asks before it deletes"
    done = lab.apply("--yes", inventory=inventory)
    assert is_verified(done), done
    assert not policies(lab)
    assert {"shop", "team-a", "team-b", "theirs", "office"} <= namespaces(lab)
    assert "team-c" not in namespaces(lab)
    agree(lab, OPEN)
    again = lab.apply(inventory=inventory)
    assert (again.status, again.changed) == (0, set()), again


COREFILE = """corp.example:5353 {
    template IN A . {
        answer "{{ .Name }} 60 IN A 192.0.2.7"
    }
}
"""


def test_names_of_a_stub_domain(lab: LabCluster, tmp_path: Path) -> None:
    """A service of the cluster answers for them. CoreDNS reads its configuration anew within two minutes."""
    done = lab.apply(inventory=with_spec(lab, tmp_path, STUB))
    assert is_verified(done), done
    image = lab.kubectl("-n kube-system get deployment coredns -o jsonpath='{..containers[0].image}'")
    names = pod("office/names", image)
    names["spec"]["containers"] = [
        {
            "name": "coredns",
            "image": image,
            "args": ["-conf", "/etc/names/Corefile"],
            "volumeMounts": [{"name": "names", "mountPath": "/etc/names"}],
        }
    ]
    names["spec"]["volumes"] = [{"name": "names", "configMap": {"name": "names"}}]
    meta = {"name": "names", "namespace": "office"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": COREFILE}}
    asking = service("office/names", {"port": 5353, "protocol": "UDP"}, clusterIP="10.96.0.53")
    applied(lab, [config, names, asking])
    lab.kubectl("-n office wait --for=condition=Ready pod/names --timeout=60s")
    look = "-n office exec client -- nslookup www.corp.example. 2>&1 || :"
    until(lambda: "192.0.2.7" in lab.kubectl(look), "the stub domain is asked", 150)
    ready = "-n kube-system get deployment coredns -o jsonpath='{.status.readyReplicas}'"
    assert lab.kubectl(ready) == "3"
    verified = provision("verify", with_spec(lab, tmp_path, STUB), "--json")
    assert verified.status == 0, verified


def test_a_loop_is_found_before_anything_changes(lab: LabCluster, tmp_path: Path) -> None:
    file = "/etc/resolv.conf"
    inventory = with_spec(lab, tmp_path, "")
    lab.one("worker1", f"cp {file} {file}.kept; echo nameserver 127.0.0.1 >{file}")
    try:
        done = lab.apply("--yes", inventory=inventory)
    finally:
        lab.one("worker1", f"cat {file}.kept >{file}; rm {file}.kept")
    assert done.status == 1, done
    told = done.only("Error")
    assert told["reason"].startswith(f"worker1: its {file} names 127.0.0.1 alone: ")
    assert "cluster.dns.upstreams" in told["hint"]
    assert not done.changed
