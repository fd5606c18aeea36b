"""A node that leaves a cluster takes what is the cluster's with it, and nothing that other runtimes have there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from leftthings import ENDED, FLANNEL, OTHERS
from nodespace import Node, node

from provisioner.kube.halt import halt_script
from provisioner.kube.lookagain import look_script
from provisioner.kube.remains import parse_remains

CIDRS = ["10.244.0.0/16"]
POD = "b" * 64
RUNTIME = f"""
cat >/usr/bin/ctr <<'END'
#!/bin/sh
case "$*" in *'containers list -q') echo {POD} ;; esac
END
printf '#!/bin/sh\\n' >/usr/bin/systemctl
mkdir -p /opt/kubernetes/bin
printf '#!/bin/sh\necho "$*" >>/asked\n' >/opt/kubernetes/bin/kube-proxy
chmod +x /usr/bin/ctr /usr/bin/systemctl /opt/kubernetes/bin/kube-proxy
"""
# A pod that runs, with networks whose names nobody knows, and what is left of one with a network of the spec's.
NOTED = f"""
cd /var/lib/cni
mkdir -p networks/theirs.gone networks/default.storage multus
printf '{POD}\\r\\nnet1' >networks/theirs.gone/10.9.0.2
printf '{ENDED}\\r\\nnet1' >networks/default.storage/10.8.0.2
echo 10.9.0.2 | tee networks/theirs.gone/last_reserved_ip.0 >networks/default.storage/last_reserved_ip.0
for n in cbr0 cni-loopback theirs.gone; do echo '{{}}' >results/$n-{POD}-eth0; done
for n in default.storage multus-cni-network cilium; do echo '{{}}' >results/$n-{ENDED}-net1; done
echo '[]' >multus/{ENDED}
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path) as one:
        yield one


def halt(here: Node) -> None:
    script = halt_script({"kubelet.service"}, CIDRS, ["default.storage"], images=False)
    here.run(f"{RUNTIME}exec 2>/dev/null\n{script.main}")


def seen(here: Node) -> list[str]:
    script = look_script(["kubelet.service"], CIDRS, ["default.storage"]).main
    return [each.name for each in parse_remains(here.run(f"exec 2>/dev/null\n{script}"))]


def noted(here: Node) -> list[str]:
    return here.run("[ ! -e /var/lib/cni ] || find /var/lib/cni | sort").split()


def test_what_other_runtimes_note_of_their_networks_stays(here: Node) -> None:
    here.run(f"{OTHERS}rmdir /var/lib/cni/cache/results /var/lib/cni/cache")
    before = noted(here)
    assert "/var/lib/cni/networks/podman/10.88.0.2" in before
    here.run(f"{FLANNEL}{NOTED}")
    assert "/var/lib/cni/networks/default.storage/10.8.0.2" in seen(here)
    halt(here)
    assert noted(here) == before
    assert not [each for each in seen(here) if "/var/lib/cni" in each]


def test_kube_proxy_flushes_no_services_of_others(here: Node) -> None:
    """It does so in every mode; what it has of rules goes without it."""
    here.run(OTHERS)
    halt(here)
    assert here.run("cat /asked 2>/dev/null || iptables-legacy -w -t nat -S | grep KUBE- || :") == ""


def test_without_other_runtimes_nothing_stays(here: Node) -> None:
    here.run(f"{OTHERS}rm -r /var/lib/cni\nmkdir -p /var/lib/cni/results")
    here.run(f"{FLANNEL}{NOTED}")
    halt(here)
    assert noted(here) == []
