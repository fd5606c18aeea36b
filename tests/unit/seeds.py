"""Right input of every parser, for tests that damage it."""

from __future__ import annotations

from broken import BASE

FULL = (
    BASE.replace(
        "      registry:",
        """\
      requires: '>=0.1'
      bundle: b
      proxy: {mode: ipvs, ipvs: {scheduler: rr, strict_arp: true}}
      runtime: {name: containerd}
      dns: {address: 10.96.0.10, domain: cluster.local, upstreams: [10.1.1.1]}
      endpoint: {host: 10.98.0.11, port: 6443}
      nodes: {labels: {a: b}, taints: ['a=b:NoSchedule', {key: a, value: b, effect: NoExecute}]}
      registry:""",
    )
    .replace(
        "        pod_cidrs:",
        """\
        plugin: flannel
        node_cidr_mask: 24
        node_cidr_mask_ipv6: 64
        flannel: {backend: vxlan, vni: 1, port: 8472, mtu: 1400, interface: eth0}
        pod_cidrs:""",
    )
    .replace(
        "worker1: {",
        "worker1: {node: yes, node_labels: {a: b}, node_taints: [], node_address: 10.98.0.21,"
        " node_interface: eth0, ansible_port: 22, ansible_become: yes, ansible_timeout: 3,"
        " ansible_ssh_common_args: -C, ",
    )
)
"""A right inventory with every key of the cluster."""

PLAYBOOK = """\
- name: a
  hosts: all
  serial: 1
  tags: [x]
  vars: {where: /etc}
  tasks:
    - {name: b, copy: {dest: '{{ where }}/a', content: x, mode: '644'}, when: flag, tags: y}
    - {file: {path: '/srv/{{ item }}', state: directory}, loop: [a, b], vars: {c: d}, become: true}
    - {command: touch /x, args: {creates: /x}}
    - {template: {dest: /etc/t, src: none.j2}}
    - {sysctl: {name: net.ipv4.ip_forward, value: 1}}
    - {systemd: {name: x, enabled: true}}
"""
PLAN = {
    "provision_plan": 1,
    "inventory": "/srv/inventory.yaml",
    "inputs": "00",
    "selection": {"limit": "a", "tags": ["x"], "stages": [], "playbook": None, "identity": "h"},
    "changes": [
        {"stage": "s", "host": "h", "id": "file:/a", "action": "update", "keys": ["mode"], "mac": "00"}
    ],
}
STATE = {
    "format": 2,
    "uuid": "6d1c8f0e-0d5c-4b8f-9a43-5e9c2b0f7a11",
    "name": "lab",
    "authorities": {"kubernetes": {"cert": "C", "key": "K"}, "etcd": {"cert": "C", "key": "K"}},
    "service_account": {"public": "P", "key": "K"},
    "encryption_key": "AAAA",
    "fixed": {"pod_cidrs": ["10.244.0.0/16"]},
}
ETCD = {
    "listed": {
        "members": [{"ID": 7, "name": "cp1", "clientURLs": ["https://10.0.0.1:2379"], "isLearner": False}]
    },
    "status": [{"Endpoint": "https://10.0.0.1:2379", "Status": {"header": {"member_id": 7}, "leader": 7}}],
}
"""What etcdctl says of members and of their states."""
FACTS_FILE = {
    "h": {
        "architecture": "amd64",
        "kernel": "6.1.0",
        "hostname": "h",
        "os_id": "debian",
        "os_version": "12",
        "clock_skew": 0.5,
        "swap": False,
        "memory": 4096,
        "addresses": {"eth0": ["10.0.0.1/24"]},
        "default_link": "eth0",
        "missing_tools": ["ip"],
        "modules": ["br_netfilter"],
        "selinux": True,
    }
}
FACTS = b"""\
=kernel
Linux 6.1.0-18-amd64 x86_64
=user
0
=hostname
worker1
=os
ID=debian
VERSION_ID="12"
=clock
1700000000
=swap
Filename Type Size Used Priority
=cpus
0-3
=memory
MemTotal:        8039640 kB
=links
2: eth0 inet 10.98.0.21/24 brd 10.98.0.255 scope global eth0
default via 10.98.0.1 dev eth0 proto static
=interfaces
all 0
eth0 1 1500 02:00:00:00:00:21
=iptables
legacy rule
nft rule
=init
systemd
=tools
=state
=owned
=resolver
nameserver 127.0.0.53
systemd-resolved
nameserver 10.0.0.2
=machine
0123456789abcdef
=selinux
1
=mark
=change
=endpoint
https://10.0.0.1:6443
=etcd
data
=kubelet
=end
"""
OWNED = {
    "kind": "file",
    "name": "/etc/a",
    "playbook": "site.yaml",
    "run": "r",
    "secret": True,
    "wanted": {"mode": "644", "list": ["x"]},
    "before": {"sha256": "00"},
}
JOURNAL = (
    {"time": 1700000000.5, "run": "r", "command": "apply", "options": "", "who": "me", "hosts": ["h1"]},
    {"event": "RunEnded", "time": 1700000001.5, "seconds": 1.0, "ok": False, "reason": "x", "exit_code": 1},
)
KNOWN_HOSTS = b"""\
10.98.0.21,worker1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKYH2jbRX0ZUiWl6jVEbfOy3G+xBAzJ4e0d4nfDCmVY5
@revoked *.lan ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKYH2jbRX0ZUiWl6jVEbfOy3G+xBAzJ4e0d4nfDCmVY5
|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAA
[worker2]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKYH2jbRX0ZUiWl6jVEbfOy3G+xBAzJ4e0d4nfDCmVY5 note
"""
