"""A worker leaves a running cluster and comes back: what it had of the cluster's is gone in between."""

from __future__ import annotations

from lab_cluster import NODES, LabCluster, is_verified, provision

LEFT = """
for p in /etc/kubernetes /opt/kubernetes /opt/cni /var/lib/provision /etc/cni/net.d/10-flannel.conflist \\
  /etc/systemd/system/kubelet.service /etc/systemd/system/kube-proxy.service /var/lib/kubelet/pki; do
  [ ! -e "$p" ] || echo "$p"
done
ip -o link show type bridge
ip -o link show type vxlan
{ iptables-save; ip6tables-save; } 2>/dev/null | grep -E 'KUBE-|FLANNEL-|CNI-' || :
ctr --namespace k8s.io tasks list -q
systemctl list-units --plain --no-legend 'kube*' 'etcd*'
"""
"""Everything of the cluster that is on a host or in its kernel."""


def test_a_worker_leaves_and_comes_back(cluster: LabCluster) -> None:
    assert cluster.one("worker2", LEFT) != ""
    asked = provision("remove", cluster.inventory, "worker2", "--json")
    assert asked.status == 1
    assert "worker2: leaves the cluster" in asked.stdout + asked.stderr
    assert cluster.ready_nodes() == set(NODES)
    done = provision("remove", cluster.inventory, "worker2", "--yes", "--json")
    assert is_verified(done), done
    assert {host for host, _, _ in done.changed} == {"worker2"}
    assert cluster.one("worker2", LEFT) == ""
    assert cluster.ready_nodes() == set(NODES) - {"worker2"}
    twice = provision("remove", cluster.inventory, "worker2", "--yes", "--json")
    assert twice.status == 0, twice
    back = cluster.apply()
    assert is_verified(back), back
    assert cluster.ready_nodes() == set(NODES)
    assert cluster.plan().status == 0
