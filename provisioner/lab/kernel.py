"""An honest /lib/modules for hosts whose kernel has everything built in.

`modprobe NAME` on a real host succeeds for what the kernel has and fails for what it has not. Where the
machine has a module directory, hosts get that. Else a modules.builtin is made from the kernel's own
configuration.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

_MODULES = """\
BRIDGE net/bridge/bridge
BRIDGE_NETFILTER net/bridge/br_netfilter
VLAN_8021Q net/8021q/8021q
VETH drivers/net/veth
VXLAN drivers/net/vxlan/vxlan
GENEVE drivers/net/geneve
DUMMY drivers/net/dummy
IFB drivers/net/ifb
MACVLAN drivers/net/macvlan
IPVLAN drivers/net/ipvlan/ipvlan
TUN drivers/net/tun
BONDING drivers/net/bonding/bonding
WIREGUARD drivers/net/wireguard/wireguard
NET_VRF drivers/net/vrf
NET_IPIP net/ipv4/ipip
NET_IPGRE net/ipv4/ip_gre
IPV6_SIT net/ipv6/sit
OVERLAY_FS fs/overlayfs/overlay
FUSE_FS fs/fuse/fuse
EXT4_FS fs/ext4/ext4
XFS_FS fs/xfs/xfs
BTRFS_FS fs/btrfs/btrfs
BLK_DEV_LOOP drivers/block/loop
NF_CONNTRACK net/netfilter/nf_conntrack
NF_CT_NETLINK net/netfilter/nf_conntrack_netlink
NF_NAT net/netfilter/nf_nat
NF_TABLES net/netfilter/nf_tables
NFT_CT net/netfilter/nft_ct
NFT_MASQ net/netfilter/nft_masq
NFT_NAT net/netfilter/nft_nat
NFT_COMPAT net/netfilter/nft_compat
NFT_FIB net/netfilter/nft_fib
NFT_NUMGEN net/netfilter/nft_numgen
NETFILTER_NETLINK net/netfilter/nfnetlink
NETFILTER_XTABLES net/netfilter/x_tables
IP_NF_IPTABLES_LEGACY net/ipv4/netfilter/ip_tables
IP_NF_FILTER net/ipv4/netfilter/iptable_filter
IP_NF_NAT net/ipv4/netfilter/iptable_nat
IP_NF_MANGLE net/ipv4/netfilter/iptable_mangle
IP_NF_RAW net/ipv4/netfilter/iptable_raw
IP6_NF_IPTABLES_LEGACY net/ipv6/netfilter/ip6_tables
IP6_NF_FILTER net/ipv6/netfilter/ip6table_filter
IP6_NF_NAT net/ipv6/netfilter/ip6table_nat
IP6_NF_MANGLE net/ipv6/netfilter/ip6table_mangle
IP6_NF_RAW net/ipv6/netfilter/ip6table_raw
IP_NF_TARGET_REJECT net/ipv4/netfilter/ipt_REJECT
IP_NF_MATCH_RPFILTER net/ipv4/netfilter/ipt_rpfilter
NETFILTER_XT_MARK net/netfilter/xt_mark
NETFILTER_XT_NAT net/netfilter/xt_nat
NETFILTER_XT_SET net/netfilter/xt_set
NETFILTER_XT_TARGET_MASQUERADE net/netfilter/xt_MASQUERADE
NETFILTER_XT_MATCH_ADDRTYPE net/netfilter/xt_addrtype
NETFILTER_XT_MATCH_BPF net/netfilter/xt_bpf
NETFILTER_XT_MATCH_COMMENT net/netfilter/xt_comment
NETFILTER_XT_MATCH_CONNTRACK net/netfilter/xt_conntrack
NETFILTER_XT_MATCH_MULTIPORT net/netfilter/xt_multiport
NETFILTER_XT_MATCH_PHYSDEV net/netfilter/xt_physdev
NETFILTER_XT_MATCH_RECENT net/netfilter/xt_recent
NETFILTER_XT_MATCH_STATISTIC net/netfilter/xt_statistic
NETFILTER_XT_MATCH_U32 net/netfilter/xt_u32
IP_SET net/netfilter/ipset/ip_set
IP_SET_HASH_IP net/netfilter/ipset/ip_set_hash_ip
IP_SET_HASH_NET net/netfilter/ipset/ip_set_hash_net
IP_SET_HASH_IPPORT net/netfilter/ipset/ip_set_hash_ipport
IP_SET_HASH_IPPORTIP net/netfilter/ipset/ip_set_hash_ipportip
IP_SET_HASH_IPPORTNET net/netfilter/ipset/ip_set_hash_ipportnet
IP_SET_BITMAP_PORT net/netfilter/ipset/ip_set_bitmap_port
IP_VS net/netfilter/ipvs/ip_vs
IP_VS_RR net/netfilter/ipvs/ip_vs_rr
IP_VS_WRR net/netfilter/ipvs/ip_vs_wrr
IP_VS_SH net/netfilter/ipvs/ip_vs_sh
IP_VS_LC net/netfilter/ipvs/ip_vs_lc
NET_SCH_HTB net/sched/sch_htb
NET_SCH_TBF net/sched/sch_tbf
NET_SCH_NETEM net/sched/sch_netem
NET_SCH_INGRESS net/sched/sch_ingress
NET_CLS_BPF net/sched/cls_bpf
NET_CLS_U32 net/sched/cls_u32
"""


def release() -> str:
    """The running kernel's release."""
    return os.uname().release


def own_modules() -> Path | None:
    """The machine's own module directory, if it has one that hosts can share."""
    path = Path("/lib/modules") / release()
    return path if (path / "modules.dep").exists() else None


def configuration() -> str:
    """The text of the running kernel's configuration; empty when the machine does not tell."""
    packed = Path("/proc/config.gz")
    if packed.exists():
        return gzip.decompress(packed.read_bytes()).decode()
    plain = Path(f"/boot/config-{release()}")
    return plain.read_text() if plain.exists() else ""


def modules_builtin(config: str) -> str:
    """The text of modules.builtin: of the modules that clusters ask for, those that `config` has built in."""
    built_in = {
        line.removeprefix("CONFIG_").removesuffix("=y")
        for line in config.splitlines()
        if line.startswith("CONFIG_") and line.endswith("=y")
    }
    table = (line.split() for line in _MODULES.splitlines())
    return "".join(f"kernel/{path}.ko\n" for symbol, path in table if symbol in built_in)
