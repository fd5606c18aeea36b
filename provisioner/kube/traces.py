"""What each pod network plug-in puts on a node, by the names that are its own.

Facts: flannel 0.7 to 0.28 (pkg/backend, pkg/trafficmngr), its CNI plug-in; Calico 3.20 to 3.32 (felix/rules,
felix/dataplane, cni-plugin); Cilium 1.14 to 1.20 (pkg/datapath/linux/linux_defaults, its charts); multus 3.9 and 4.3;
CNI plug-ins 0.8 to 1.9 (portmap, host-local)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Traces:
    """Names are extended regular expressions for the whole of one, where nothing else is said."""

    links: tuple[str, ...] = ()
    pod_links: tuple[str, ...] = ()
    """The nodes' ends of pods' links."""
    bridges: tuple[str, ...] = ()
    """Names as they are, of bridges that pods' links are on."""
    emptied: tuple[str, ...] = ()
    """Names as they are, of links that the kernel keeps while it has the module."""
    protocols: tuple[str, ...] = ()
    """Numbers of the protocols that routes bear; with `type blackhole` those of that type only (12 is BIRD)."""
    gateways: tuple[str, ...] = ()
    """Protocols of routes that lead to another node's pods by way of that node."""
    rules: tuple[str, ...] = ()
    """Of lines of `ip rule show`: parts of them."""
    chains: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()
    """How comments of rules in others' chains begin."""
    sets: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    """Families and names of nftables."""
    networks: tuple[str, ...] = ()
    """Names of CNI networks: leases, results and published ports bear them."""
    containers: tuple[str, ...] = ()
    """Folders with a file for each container."""
    programs: tuple[str, ...] = ()
    """How names of eBPF programs on hosts' links begin."""
    mounts: tuple[str, ...] = ()
    """Patterns of sh: what is mounted below the plug-in's folders."""
    files: tuple[str, ...] = ()
    """Patterns of sh: settings, programs and folders that are the plug-in's alone."""
    shared: tuple[str, ...] = ()
    """Programs that it, too, has put there, and that others use."""
    written: tuple[str, ...] = ()
    """Patterns of sh: files that people have written for it, as its documents advise."""
    settings: tuple[str, ...] = ()
    """Settings of the kernel, with the value that it gives them and does not take back."""

    def without(self, others: Collection[Traces]) -> Traces:
        """What is none of the others' as well; programs of theirs that are shared are no remains at all."""
        mine = {
            each.name: tuple(
                name
                for name in getattr(self, each.name)
                if not any(name in getattr(other, each.name) for other in others)
            )
            for each in fields(self)
        }
        files = {name for other in others for name in other.files}
        shared = tuple(name for name in mine["shared"] if f"{_BIN}/{name}" not in files)
        return Traces(**{**mine, "shared": shared})

    def with_(self, others: Collection[Traces]) -> Traces:
        """All of them, each thing once."""
        every = {
            each.name: tuple(
                dict.fromkeys(name for one in (self, *others) for name in getattr(one, each.name))
            )
            for each in fields(self)
        }
        return Traces(**every)


_BIN = "/opt/cni/bin"
_NET = "/etc/cni/net.d"
_FELIX = Traces(
    links=("vxlan(-v6)?[.]calico", "wireguard[.]cali", "wg-v6[.]cali", "bpf(in|out)[.]cali"),
    pod_links=("cali[0-9a-f]+",),
    emptied=("tunl0",),
    protocols=("80",),
    # Of WireGuard (felix/wireguard); the table has a number of Felix' range.
    rules=("^99:.*fwmark 0x[0-9a-f]+/0x[0-9a-f]+ lookup [0-9]+",),
    chains=("cali-[A-Za-z0-9_.-]+", "cali(fw|tw|fh|th|pi|po)-[A-Za-z0-9_.-]+", "felix-[A-Za-z0-9_.-]+"),
    comments=("cali:",),
    sets=("cali[46][0t].*", "felix-.*"),
    tables=("(ip|ip6|arp|inet|bridge|netdev) calico(-arp)?",),
    networks=("k8s-pod-network",),
    programs=("cali_",),
    mounts=("/run/calico/*",),
    files=(
        f"{_NET}/calico-kubeconfig", f"{_NET}/calico-tls", f"{_BIN}/calico", f"{_BIN}/calico-ipam",
        f"{_BIN}/install", "/var/lib/calico", "/run/calico", "/var/log/calico", "/run/nodeagent",
        "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/nodeagent~uds",
        "/sys/fs/bpf/calico", "/sys/fs/bpf/tc/globals/cali_*",
    ),
    shared=("host-local", "loopback", "portmap", "tuning", "bandwidth", "flannel"),
    written=("/etc/NetworkManager/conf.d/calico.conf",),
    settings=("net.ipv4.conf.default.rp_filter 1",),
)  # fmt: skip
_FLANNELD = Traces(
    links=("flannel0", "flannel(-v6)?[.][0-9]+", "flannel-wg(-v6)?", "flannel[.]ipip"),
    gateways=("boot",),
    chains=("FLANNEL-[A-Za-z0-9-]+",),
    # Before 0.20 rules of its stand in others' chains; newer ones lead to its chains from there.
    comments=("flanneld (masq|forward)",),
    tables=("ip flannel-ipv4", "ip6 flannel-ipv6"),
    containers=("/var/lib/cni/flannel",),
    files=(f"{_BIN}/flannel", "/run/flannel"),
    written=("/etc/systemd/network/*flannel*.link", "/etc/udev/rules.d/*flannel*.rules"),
)
PLUGINS: dict[str, Traces] = {
    "flannel": _FLANNELD.with_(
        [
            Traces(
                bridges=("cni0",),
                networks=("cbr0",),
                files=(f"{_NET}/10-flannel.conflist", f"{_NET}/10-flannel.conf"),
            )
        ]
    ),
    "calico": _FELIX.with_(
        [
            Traces(
                # 196 is this tool's own, for moments of a migration (bridgeroutes.py).
                protocols=("12", "196"),
                files=(f"{_NET}/10-calico.conflist", f"{_NET}/10-calico.conf"),
            )
        ]
    ),
    "canal": _FELIX.with_([_FLANNELD, Traces(files=(f"{_NET}/10-canal.conflist", f"{_NET}/10-canal.conf"))]),
    "cilium": Traces(
        links=("cilium_(host|net|vxlan|geneve|wg0|ipip[46])", "lxc_health"),
        pod_links=("lxc[0-9a-f]{12}",),
        rules=("fwmark 0x[0-9a-f]+/0xf00 .*lookup 200[45]",),
        chains=("(OLD_)?CILIUM_[A-Za-z0-9_]+",),
        sets=("cilium_node_set_v[46]",),
        programs=("cil_",),
        mounts=("/run/cilium/*",),
        files=(
            f"{_NET}/05-cilium.conflist", f"{_NET}/05-cilium.conf", f"{_BIN}/cilium-cni", f"{_BIN}/cilium-mount",
            f"{_BIN}/cilium-sysctlfix", "/etc/sysctl.d/99-zzz-override_cilium.conf", "/sys/fs/bpf/cilium",
            "/sys/fs/bpf/tc/globals/cilium_*", "/var/lib/cilium", "/run/cilium",
        ),
        shared=("loopback",),
    ),
    "multus": Traces(
        containers=("/var/lib/cni/multus",),
        files=(
            f"{_NET}/00-multus.conf", f"{_NET}/00-multus.conflist", f"{_NET}/multus.d", "/etc/cni/multus",
            f"{_BIN}/multus", f"{_BIN}/multus-shim", f"{_BIN}/passthru", "/run/multus",
        ),
    ),
}  # fmt: skip
KUBE_PROXY = Traces(
    links=("kube-ipvs0",),
    chains=("KUBE-[A-Za-z0-9-]+",),
    sets=("KUBE-.*",),
    tables=("ip6? kube-proxy",),
)
"""Of all its modes, and of the kubelet's own chains. That is no plug-in, and goes with the last one only."""
RUNTIMES = Traces(networks=("cilium", "multus-cni-network"))
"""What runtimes note by names of networks that no address is leased in: nobody has a use for it after pods."""
BACKENDS: dict[str, dict[str, Traces]] = {
    "flannel": {
        "vxlan": Traces(links=("flannel(-v6)?[.][0-9]+",)),
        "host-gw": Traces(gateways=("boot",)),
        "wireguard": Traces(links=("flannel-wg(-v6)?",), files=("/run/flannel/wgkey",)),
        "ipip": Traces(links=("flannel[.]ipip",)),
        "udp": Traces(links=("flannel0",)),
    },
    # Felix deletes its tunnel's link itself when it starts and VXLAN is off (felix/dataplane/linux, int_dataplane.go);
    # of the others' things it looks after none.
    "calico": {
        "vxlan": Traces(links=("vxlan(-v6)?[.]calico",), protocols=("80 type blackhole",)),
        "ipip": Traces(emptied=("tunl0",)),
        "bgp": Traces(protocols=("12",)),
    },
}
"""What one way of carrying packets between nodes puts on a node beside what the plug-in has there in any case. Where
flannel's DirectRouting is on, `host-gw` is in use, too."""
