"""Facts of a host: what the compiler may know before anything is read in detail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provisioner.inventory.secrets import Secret


@dataclass(frozen=True)
class Facts:
    """`clock_skew` is in seconds, the host's clock less ours; `memory` in KiB; `cpus` are online, 0 when that is not
    known; `addresses` by link; `resolver` is the resolv.conf that pods are to inherit, with its `nameservers`;
    `modules` those of the kernel that were asked for and are there, loaded or not. `missing_packages` are those that
    were asked for and are not installed; only then `package_sources` tells whether the host reaches the sources of its
    own package manager. `firewall` is the one at work (firewalld, ufw, nftables; "" for none that drops what comes in
    or passes through), `filters` what it says.
    `selinux`: the kernel has it, and a policy is loaded, whether that is enforced or not. `network_manager`: it is
    installed.

    `mtus` by link, and `macs`, their hardware addresses; `idle_links` are down or without a carrier; `strict_links` are
    those on which the kernel drops what would not go back the way that it came (rp_filter). `iptables`: "legacy" and
    "nft" where both of its worlds have rules, "legacy drop" where the old one's FORWARD drops by policy. Where they
    were asked for: `drivers` by link, of links that have one; `lowers`: of a bond, a VLAN, a bridge, the links below
    it; `unsettable` paths of kernel settings, and `contained`: the host shares its kernel's network with the machine
    that it runs on.

    `etcd`: "seeded" where a member of a new cluster is to start, "founding" where it has started and was not seen to
    vote, "joining" where one of a running cluster is to start, else "data" where it has some.

    `endpoint`: the API server that its kubelet talks to (a URL), "" without one; with "switching" behind it while a
    change of that is not approved (kube.switch).

    `mark` and `kubelet_certificate` are texts of the cluster's own files, `owned` what the host remembers to be ours
    (resources.owned), `network_record` what a control plane remembers of the pod network (network.record), "" when
    there are none; `state`, which holds the cluster's keys, is None then. `last_change`
    names the script of ours that changed the host last. `claimed` is the hardware address that answers for the address
    that was asked for, "" when none does or nothing was asked, "kept" where keepalived knows it. `existing`
    are files of a cluster that others have built: lines of a path and the content in base64.
    `virtual`, what the machine is made of by systemd-detect-virt(1) ("none" for metal), where links were asked for.
    `masters` are links that were asked for by name and are there, with what is to be known of each: "mtu 1500",
    "bridge", "wireless", "part of br0". `towards` has, by the address that was asked for, the link and the
    address by which the host sends there, () where there is no way. `peers` are the addresses to which its keepalived
    says that it is there.
    """

    architecture: str
    kernel: str
    hostname: str
    os_id: str
    os_version: str
    clock_skew: float
    swap: bool
    memory: int
    addresses: Mapping[str, tuple[str, ...]]
    default_link: str
    missing_tools: tuple[str, ...] = ()
    root: bool = True
    state: Secret | None = None
    network_record: str = field(default="", repr=False)
    resolver: str = "/etc/resolv.conf"
    machine_id: str = ""
    mark: str = ""
    owned: str = field(default="", repr=False)
    last_change: str = ""
    kubelet_certificate: str = field(default="", repr=False)
    modules: tuple[str, ...] = ()
    os_like: tuple[str, ...] = ()
    missing_packages: tuple[str, ...] = ()
    package_sources: bool = True
    firewall: str = ""
    filters: str = field(default="", repr=False)
    cpus: int = 0
    etcd: str = ""
    endpoint: str = ""
    selinux: bool = False
    network_manager: bool = False
    claimed: str = ""
    existing: Secret | None = field(default=None, repr=False)
    mtus: Mapping[str, int] = field(default_factory=dict)
    macs: Mapping[str, str] = field(default_factory=dict)
    strict_links: tuple[str, ...] = ()
    iptables: tuple[str, ...] = ()
    drivers: Mapping[str, str] = field(default_factory=dict)
    unsettable: tuple[str, ...] = ()
    contained: bool = False
    virtual: str = ""
    nameservers: tuple[str, ...] = ()
    masters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    peers: tuple[str, ...] = ()
    idle_links: tuple[str, ...] = ()
    towards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lowers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def platform(self) -> str:
        """As the bundle names it ("linux/amd64")."""
        return f"linux/{self.architecture}"

    @property
    def switch_under_way(self) -> bool:
        """Its kubelet's change of the `endpoint` is not approved."""
        return self.endpoint.endswith(" switching")
