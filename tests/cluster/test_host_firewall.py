"""A host's own firewall that drops what the cluster needs: refused, or opened, and closed again when it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_cluster import LabCluster, is_verified, provision

STRICT = """
nft -f - <<'END'
table inet strict {
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iif lo accept
    tcp dport 22 accept
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
  }
}
END
iptables -P INPUT DROP
iptables -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -j ACCEPT
"""
"""As by hand, in nftables and, beside it, in iptables."""
RELAXED = """
nft 'chain inet strict input { policy accept; }; chain inet strict forward { policy accept; }'
iptables -P INPUT ACCEPT
"""
GONE = """
nft delete table inet strict 2>/dev/null || :
iptables -P INPUT ACCEPT
for r in '-m state --state ESTABLISHED,RELATED' '-i lo' '-p tcp --dport 22'; do
  iptables -D INPUT $r -j ACCEPT 2>/dev/null || :
done
"""
OURS = "nft list ruleset | grep -c 'comment \"provision\"' || :; iptables -S INPUT | grep -c 'comment provision' || :"
UNIT = "systemd:provision-firewall.service"


@pytest.fixture
def strict(cluster: LabCluster) -> Iterator[LabCluster]:
    """worker2 drops all but SSH."""
    try:
        cluster.on("worker2", STRICT)
        yield cluster
    finally:
        cluster.on("worker2", GONE)
        assert cluster.apply("--yes", "--stage", "firewall").status == 0


def test_a_firewall_is_refused_then_opened_and_left_as_it_was(strict: LabCluster, tmp_path: Path) -> None:
    refused = strict.plan()
    assert refused.status == 1, refused
    said = refused.stdout + refused.stderr
    assert "worker2: its firewall (nftables) would drop 10250/tcp" in said
    assert "what pods send (chain inet strict forward)" in said
    assert "nft insert rule" in said
    assert "cp1: its firewall" not in said

    managed = strict.edited(tmp_path, {"      proxy:\n": "      firewall: manage\n      proxy:\n"})
    done = strict.apply("--yes", inventory=managed)
    assert is_verified(done), done
    assert {host for host, resource, _ in done.changed if resource == UNIT} == {"worker2"}
    assert "firewall_open" in {event["gate"] for event in done.named("GatePassed")}
    assert all(int(count) for count in strict.one("worker2", OURS).split())
    assert provision("plan", managed).status == 0

    strict.on("worker2", RELAXED)
    done = strict.apply("--yes")
    assert is_verified(done), done
    assert ("worker2", UNIT, "update") in done.changed, "it stopped, and so took its rules back"
    assert strict.one("worker2", OURS).split() == ["0", "0"]
    strict.on(
        "worker2", "test ! -e /opt/kubernetes/bin/provision-firewall && nft list table inet strict >/dev/null"
    )
