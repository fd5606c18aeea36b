"""A worker on days that are still to come: its kubelet's clock is ahead, all other clocks are right."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import ahead
import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store
from lab_cluster import LabCluster, is_verified, provision, served, until

from provisioner.inventory.secrets import Secret
from provisioner.pki.authority import LEAF_DAYS, Leaf, issue
from provisioner.pki.certificate import RENEW_DAYS
from provisioner.pki.cluster import STATE_FILE, parse_state

CURRENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
AUTHORITY, SERVING = "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/kubelet.crt"
STARTS = 12
START_LIMIT = 5
"""systemd's, within ten seconds."""
DAY = dt.timedelta(days=1)
_DRAWN = re.compile(r'rotation deadline determined".* deadline="(\S+ \d\d:\d\d:\d\d)')
_NAMED = re.compile(r"kubelet-client-(\d+-\d+-\d+)-")


@dataclass(frozen=True)
class Worker:
    """A node whose kubelet's clock can be set, and what is asked of it and of its cluster."""

    cluster: LabCluster
    node: str

    def certificate(self, path: str) -> x509.Certificate:
        pem = self.cluster.one(self.node, f"sed -n '/BEGIN C/,/END C/p' {path}")
        return x509.load_pem_x509_certificate(pem.encode())

    def start(self, day: dt.datetime) -> None:
        """The kubelet starts, and takes this moment for `day`."""
        ahead.start(self.cluster, self.node, round((day - dt.datetime.now(dt.UTC)).total_seconds()))

    def drawn(self) -> list[dt.datetime]:
        """The days on which the kubelet meant to renew its client certificate, since its start."""
        found = _DRAWN.findall(ahead.log(self.cluster, self.node))
        return [dt.datetime.fromisoformat(f"{each}+00:00") for each in found]

    def requests(self) -> dict[str, tuple[str, str]]:
        """(signer, why it was approved) of each request for a certificate that the kubelet has made."""
        return {
            each["metadata"]["name"]: (
                each["spec"]["signerName"],
                each["status"].get("conditions", [{"reason": "none"}])[0]["reason"],
            )
            for each in self.cluster.objects("csr")
            if each["spec"]["username"] == f"system:node:{self.node}"
        }

    def restarts(self) -> int:
        """How often systemd has started the kubelet again, by itself."""
        return int(self.cluster.one(self.node, "systemctl show --property=NRestarts --value kubelet"))

    def ready(self) -> bool:
        return self.node in self.cluster.ready_nodes()

    def lives(self, day: dt.datetime) -> bool:
        """The node is ready, and the kubelet's clock within an hour of `day`, by its lease and by its last report."""
        beat = '{.status.conditions[?(@.type=="Ready")].lastHeartbeatTime}'
        signs = (
            self.cluster.kubectl(f"-n kube-node-lease get lease {self.node} -o jsonpath={{.spec.renewTime}}"),
            self.cluster.kubectl(f"get node {self.node} -o jsonpath='{beat}'"),
        )
        return self.ready() and all(abs(dt.datetime.fromisoformat(each) - day) < DAY / 24 for each in signs)

    def holds(self, day: dt.datetime) -> None:
        """The certificate that the kubelet serves with is the file's, and good for whoever has the clock of `day`."""
        address = self.cluster.address(self.node)
        shown = x509.load_pem_x509_certificate(ssl.get_server_certificate((address, 10250)).encode())
        assert shown == self.certificate(SERVING)
        policy = PolicyBuilder().store(Store([self.certificate(AUTHORITY)])).time(day)
        policy.build_server_verifier(x509.IPAddress(ipaddress.ip_address(address))).verify(shown, [])


@pytest.fixture
def worker(cluster: LabCluster) -> Iterator[Worker]:
    """worker1; at the end its kubelet is the unit's again."""
    ahead.deliver(cluster, "worker1", ahead.kubelet_ahead())
    yield Worker(cluster, "worker1")
    ahead.put_back(cluster, "worker1")


def started_when_due(worker: Worker, day: dt.datetime) -> None:
    """Each time that it starts a kubelet draws anew when it will renew its client certificate: between 70 % and 90 % of
    its life (client-go, certificate_manager.go). So it is started on that day until the drawn one has come."""
    for _ in range(STARTS):
        worker.start(day)
        until(lambda: bool(worker.drawn()), "it has drawn a day")
        if worker.drawn()[0] <= day:
            return
    raise AssertionError(f"not due in {STARTS} starts, one of 4096 times: {worker.drawn()}")


@pytest.mark.soak
def test_a_kubelet_on_the_days_on_which_certificates_are_due(worker: Worker) -> None:
    """Client certificates renew themselves, and what is ours goes on until its end, not longer."""
    answer = served(worker.cluster, worker.node)
    assert answer
    renews_itself(worker, answer)
    goes_on_in_its_last_days(worker, answer)
    waits_after_its_end(worker)
    comes_back_to_the_present(worker, answer)


def renews_itself(worker: Worker, answer: str) -> None:
    """In the midst of the days between which it draws. What it gets is of the present, because only its clock is ahead,
    so that the next drawn day may have come as well: it has several, until one has not."""
    old, known = worker.certificate(CURRENT), worker.requests()
    day = old.not_valid_before_utc + 0.8 * (old.not_valid_after_utc - old.not_valid_before_utc)
    started_when_due(worker, day)
    until(lambda: worker.drawn()[-1] > day, "it has renewed itself", 120)
    until(lambda: worker.lives(day), "the node is ready on that day")
    until(lambda: served(worker.cluster, worker.node) == answer, "logs and exec work")
    worker.holds(day)
    new = worker.certificate(CURRENT)
    assert new.not_valid_before_utc > old.not_valid_before_utc
    assert new.subject == old.subject
    named = _NAMED.search(worker.cluster.one(worker.node, f"readlink {CURRENT}"))
    assert named
    assert named[1] == f"{day:%Y-%m-%d}"
    made = {name: each for name, each in worker.requests().items() if name not in known}
    assert set(made.values()) == {("kubernetes.io/kube-apiserver-client-kubelet", "AutoApproved")}
    done = provision("verify", worker.cluster.inventory, "--json")
    assert is_verified(done), done


def goes_on_in_its_last_days(worker: Worker, answer: str) -> None:
    """In those in which a run would issue the serving certificate anew nothing else does, and it still is good."""
    serving = worker.certificate(SERVING)
    day = serving.not_valid_after_utc - (RENEW_DAYS - 5) * DAY
    worker.start(day)
    until(lambda: worker.lives(day), "the node is ready on that day")
    until(lambda: served(worker.cluster, worker.node) == answer, "logs and exec work")
    worker.holds(day)
    assert worker.certificate(SERVING) == serving
    assert {signer for signer, _ in worker.requests().values()} == {
        "kubernetes.io/kube-apiserver-client-kubelet"
    }


def waits_after_its_end(worker: Worker) -> None:
    """The day after: what the kubelet has to show to the cluster has ended, so that it ends, and begins anew, however
    often, as after a boot with a clock that nobody has set yet."""
    worker.start(max(worker.certificate(each).not_valid_after_utc for each in (CURRENT, SERVING)) + DAY)
    until(lambda: "is expired" in ahead.log(worker.cluster, worker.node), "it finds it expired")
    until(lambda: worker.restarts() > 2 * START_LIMIT, "it is started again and again")
    until(lambda: not worker.ready(), "the node is not ready", 90)
    assert served(worker.cluster, worker.node) == ""


def comes_back_to_the_present(worker: Worker, answer: str) -> None:
    """By itself, once the clock is right."""
    ahead.set_right(worker.cluster, worker.node)
    until(lambda: worker.lives(dt.datetime.now(dt.UTC)), "the node is ready now")
    until(lambda: served(worker.cluster, worker.node) == answer, "logs and exec work")
    done = provision("verify", worker.cluster.inventory, "--json")
    assert is_verified(done), done


@pytest.mark.soak
def test_a_run_renews_a_serving_certificate_in_its_last_days(cluster: LabCluster) -> None:
    state = parse_state(Secret.text(cluster.one("cp1", f"cat {STATE_FILE}")), "cp1")
    names = ("worker1", cluster.address("worker1"))
    certificate = SERVING.removesuffix(".crt")
    answer = served(cluster, "worker1")
    for days, keys in ((RENEW_DAYS + 1, {"key"}), (RENEW_DAYS - 1, {"key", "expiry"})):
        leaf = Leaf("system:node:worker1", ("system:nodes",), names, ("server",), days)
        pair = issue(state.authorities["kubernetes"], leaf)
        cluster.one(
            "worker1",
            f"cat >{SERVING} <<'END'\n{pair.cert}END\ncat >{certificate}.key <<'END'\n{pair.key.reveal()}END\n",
        )
        planned = {each["resource"]: each for each in cluster.plan().only("Plan")["changes"]}
        assert set(planned[f"certificate:{certificate}"]["keys"]) == keys
    done = cluster.apply()
    assert is_verified(done), done
    assert done.changed == {
        ("worker1", f"certificate:{certificate}", "update"),
        ("worker1", "systemd:kubelet.service", "restart"),
    }
    worker = Worker(cluster, "worker1")
    worker.holds(dt.datetime.now(dt.UTC) + (LEAF_DAYS - 1) * DAY)
    assert served(cluster, "worker1") == answer
