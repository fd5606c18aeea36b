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
      dns: {address: 10.96.0.10, domain: cluster.local, upstreams: [10.1.1.1], replicas: 2,
        stub_domains: {corp.example: ['10.1.1.2:5353'], 1.168.192.in-addr.arpa: ['[fd00::53]:5353']},
        forward: {policy: sequential, max_concurrent: 10, max_fails: 0, force_tcp: no, prefer_udp: yes}}
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
        multus: {variant: thick}
        attachments:
        - name: a
          type: macvlan
          master: eth1
          mode: vepa
          nodes: [worker1]
          ipam:
            type: host-local
            ranges: [{subnet: 10.97.1.0/24, start: 10.97.1.10, end: 10.97.1.20, gateway: 10.97.1.1}]
            routes: [{to: 10.97.2.0/24, via: 10.97.1.1}]
        - {name: b, type: bridge, bridge: br1, vlan: 2, mtu: 1400, is_gateway: yes, masquerade: yes}
        - {name: c, type: host-device, device: eth2, ipam: {type: static, addresses: [{address: 10.97.3.1/24}]}}
        - {name: d, namespace: e, type: sriov, resource: a.b/c}
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

POLICED = FULL.replace(
    "        flannel: {backend: vxlan, vni: 1, port: 8472, mtu: 1400, interface: eth0}\n",
    """\
        policies:
        - {name: a, kind: deny, namespaces: [shop]}
        - {name: b, namespaces: [shop], pods: {app: web}, to: [{pods: {}, ports: [53/UDP, 80-90, 443]}],
           from: [{namespaces: [x, y]}, {cidr: 0.0.0.0/0, except: [169.254.169.254/32]}]}
""",
).replace("plugin: flannel", "plugin: calico")
"""Another one, whose plug-in enforces policies."""

CILIUM = FULL.replace(
    "        flannel: {backend: vxlan, vni: 1, port: 8472, mtu: 1400, interface: eth0}\n",
    """\
        cilium: {routing_mode: native, native_routing_cidrs: [10.0.0.0/8], auto_direct_node_routes: no,
          ipam: cluster-pool, pools: [10.244.0.0/17, 10.244.192.0/18], kube_proxy_replacement: false,
          hubble: {enabled: yes, relay: yes, ui: no}, mtu: 1400, wireguard: no, devices: [eth0, eth+],
          config: {enable-bpf-masquerade: 'true'}}
""",
).replace("plugin: flannel", "plugin: cilium")
"""One with every key of Cilium's mode native."""

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
2: eth0: <UP> mtu 1500 qdisc fq state UP \\    link/ether 02:00:00:00:00:21 brd ff:ff:ff:ff:ff:ff
=rp_filter
all 0
eth0 1
=iptables
legacy rule
nft rule
=init
systemd
=tools
=state
=network_record
=owned
=resolver
nameserver 127.0.0.53
systemd-resolved
nameserver 10.0.0.2
=machine
0123456789abcdef
=network_manager
there
=selinux
1
=mark
=change
=endpoint
https://10.0.0.1:6443
=peers
=etcd
data
=kubelet
=masters
eth1 wired 3: eth1: <UP> mtu 1500 qdisc fq master br0 state UP \\    link/ether 02:00:00:00:00:01 \\  bridge_slave
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
