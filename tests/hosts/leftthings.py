"""Scripts that put onto a node what others have there, and what each plug-in leaves; and one that tells all of it."""

from __future__ import annotations

EVERY = "for t in iptables-legacy iptables-nft ip6tables-legacy ip6tables-nft"
ALIVE, ENDED = "a" * 64, "e" * 64

# sshd's firewall, docker with a published port, kube-proxy, keepalived's rule, the distribution's table, a tunnel and a
# bridge of somebody, BIRD of the host's own, a pod of another runtime's network, plug-ins that all use.
OTHERS = rf"""
set -eu
exec 2>&1
ip link set lo up
ip link add eth0 type veth peer name wire
for l in eth0 wire; do ip link set $l up; done
ip addr add 10.0.0.1/24 dev eth0
ip -6 addr add fd00:0::1/64 dev eth0 nodad
ip link add tunl0 type bridge
ip link add docker0 type bridge
ip link add vxlan.mine type vxlan id 7 dstport 4444 local 10.0.0.1
ip link add calico-lan type bridge
ip link add veth0docker type veth peer name other
ip link set veth0docker master docker0
ip route add 192.0.2.0/24 via 10.0.0.9 proto bird
ip route add 198.51.100.0/24 via 10.0.0.9
ip route add 10.244.77.0/24 via 10.0.0.9
ip -6 route add 2001:db8::/64 via fd00:0::9
ip rule add pref 50 fwmark 0x1/0xff lookup 77
ip rule add pref 99 from 10.9.9.9 lookup 78
{EVERY}; do
  $t -w -P FORWARD DROP
  $t -w -A INPUT -p tcp --dport 22 -m comment --comment "sshd: only from here, not cali: or flanneld" -j ACCEPT
  $t -w -N DOCKER
  $t -w -A FORWARD -o docker0 -j DOCKER
  $t -w -t nat -N DOCKER
  $t -w -t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 -j ACCEPT
  $t -w -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
  $t -w -t nat -N KUBE-SERVICES
  $t -w -t nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
  $t -w -t nat -A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
  $t -w -N KUBE-FORWARD
  $t -w -A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
  $t -w -A FORWARD -m comment --comment "said \"flanneld forward\"" -j ACCEPT
  for table in raw mangle nat filter; do $t -w -t $table -A OUTPUT -p tcp --dport 9 -j ACCEPT; done
  $t -w -N my-cali-chain
  $t -w -A INPUT -j my-cali-chain
  for c in CNI-HOSTPORT-DNAT CNI-HOSTPORT-MASQ CNI-HOSTPORT-SETMARK CNI-DN-0123456789abcdef; do $t -w -t nat -N $c; done
  $t -w -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
  $t -w -t nat -A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
  $t -w -t nat -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment 'dnat name: "podman" id: "{ENDED}"' \
    -m multiport --destination-ports 9090 -j CNI-DN-0123456789abcdef
  $t -w -t nat -A CNI-DN-0123456789abcdef -p tcp --dport 9090 -j CNI-HOSTPORT-SETMARK
done
nft 'add table inet filter; add chain inet filter input {{ type filter hook input priority 0; }}'
nft 'add rule inet filter input tcp dport 22 accept'
nft 'add table ip calico-like'
ipset create blocked hash:ip
ipset add blocked 203.0.113.9
iptables-nft -w -A INPUT -m set --match-set blocked src -j DROP
cd /
mkdir -p etc/cni/net.d opt/cni/bin var/lib/cni/networks/podman var/lib/cni/cache/results var/lib/cni/results
mkdir -p var/lib/calico-backups var/log/calico-backups run/flanneld-old sys/fs/bpf/tc/globals
mkdir -p run/containerd/io.containerd.runtime.v2.task/k8s.io/{ALIVE}
for b in bridge host-local loopback portmap tuning bandwidth; do echo $b >opt/cni/bin/$b; done
echo '{{}}' >etc/cni/net.d/87-podman.conflist
printf '{ENDED}\r\neth0' >var/lib/cni/networks/podman/10.88.0.2
echo '{{}}' >var/lib/cni/results/podman-{ENDED}-eth0
echo '{{}}' >var/lib/cni/results/cbr0-of-mine-{ENDED}-eth0
mkdir -p etc/NetworkManager/conf.d
echo x >etc/NetworkManager/conf.d/calico.conf
ip netns add cni-ended
"""

FLANNEL = rf"""
set -eu
exec 2>&1
ip link add flannel.1 type vxlan id 1 dstport 8472 local 10.0.0.1 nolearning
ip link add flannel-v6.1 type vxlan id 1 dstport 8473 local fd00:0::1 nolearning
ip link add flannel.ipip type bridge
ip link add flannel-wg type bridge
ip link set flannel.1 up
ip addr add 10.244.0.0/32 dev flannel.1
ip route add 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink
ip route add 10.244.2.0/24 via 10.0.0.2
ip -6 route add fd00:244:2::/64 via fd00:0::2
ip link add cni0 type bridge
ip addr add 10.244.0.1/24 dev cni0
{EVERY}; do
  $t -w -t nat -N FLANNEL-POSTRTG
  $t -w -t nat -A FLANNEL-POSTRTG -m comment --comment "flanneld masq" -j RETURN
  $t -w -t nat -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
  $t -w -t nat -A POSTROUTING -m comment --comment "flanneld masq" -j RETURN
  $t -w -N FLANNEL-FWD
  $t -w -I FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
  $t -w -A FORWARD -m comment --comment "flanneld forward" -j ACCEPT
  $t -w -t nat -N CNI-DN-fedcba9876543210
  for p in tcp udp; do
    $t -w -t nat -A CNI-HOSTPORT-DNAT -p $p -m comment --comment 'dnat name: "cbr0" id: "{ENDED}"' \
      -m multiport --destination-ports 9091 -j CNI-DN-fedcba9876543210
    $t -w -t nat -A CNI-DN-fedcba9876543210 -p $p --dport 9091 -j CNI-HOSTPORT-SETMARK
  done
  $t -w -t nat -N CNI-00ff
  $t -w -t nat -A POSTROUTING -m comment --comment 'name: "cbr0" id: "{ENDED}"' -j CNI-00ff
done
nft 'add table ip flannel-ipv4; add table ip6 flannel-ipv6; add chain ip flannel-ipv4 postrtg'
cd /
mkdir -p var/lib/cni/networks/cbr0 var/lib/cni/cache/results var/lib/cni/flannel run/flannel
printf '{ENDED}\r\neth0' >var/lib/cni/networks/cbr0/10.244.0.2
echo 10.244.0.2 >var/lib/cni/networks/cbr0/last_reserved_ip.0
: >var/lib/cni/networks/cbr0/lock
for f in results cache/results; do echo '{{}}' >var/lib/cni/$f/cbr0-{ENDED}-eth0; done
echo '{{}}' >var/lib/cni/flannel/{ENDED}
printf 'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_IPV6_NETWORK=fd00:244::/32\n' >run/flannel/subnet.env
echo '{{}}' >etc/cni/net.d/10-flannel.conflist
echo flannel >opt/cni/bin/flannel
"""

CALICO = rf"""
set -eu
exec 2>&1
ip link add vxlan.calico type vxlan id 4096 dstport 4789 local 10.0.0.1
ip link add wireguard.cali type bridge
ip link add cali0123456789a type veth peer name eth0 netns cni-ended
ip link add calidddddddddd type veth peer name dangling
ip link set vxlan.calico up
ip addr add 10.245.0.1/32 dev tunl0
ip link set tunl0 up
ip route add 10.245.7.0/26 via 10.0.0.8 dev tunl0 onlink proto bird
ip route add 10.245.1.0/26 via 10.0.0.2 proto bird
ip route add 10.245.2.0/26 proto bird nexthop via 10.0.0.2 nexthop via 10.0.0.3
ip route add blackhole 10.245.0.0/26 proto bird
ip route add blackhole 10.245.9.0/26 proto 80
ip route add 10.245.4.0/26 dev vxlan.calico proto 80
ip route add 10.245.6.0/26 via 10.0.0.2 proto 196 metric 9000
ip -6 route add blackhole fd00:245::/122 proto bird
ip -6 route add fd00:245:1::/122 via fd00:0::2 proto bird
ip -6 route add blackhole fd00:245:2::/122 proto 80
ip route add throw 10.245.0.0/16 table 1 proto 80
ip rule add pref 99 not from all fwmark 0x200000/0x200000 lookup 1
ip -6 rule add pref 99 not from all fwmark 0x200000/0x200000 lookup 1
ipset create cali40all-ipam-pools hash:net
ipset create cali60all-ipam-pools hash:net family inet6
ipset create cali40s:list list:set
ipset add cali40s:list cali40all-ipam-pools
{EVERY}; do
  case $t in ip6*) s=cali60all-ipam-pools ;; *) s=cali40all-ipam-pools ;; esac
  for table in raw mangle nat filter; do
    $t -w -t $table -N cali-PREROUTING
    $t -w -t $table -N cali-pi-_Wx8l.p
    $t -w -t $table -A cali-PREROUTING -m comment --comment "cali:a-_b" -g cali-pi-_Wx8l.p
    $t -w -t $table -A cali-pi-_Wx8l.p -m set --match-set $s src -j RETURN
    $t -w -t $table -I OUTPUT -m comment --comment "cali:x-_y" -j cali-PREROUTING
  done
  $t -w -A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" -m mark --mark 0x10000/0x10000 -j ACCEPT
  $t -w -t nat -N CNI-DN-ca11c0
  $t -w -t nat -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment 'dnat name: "k8s-pod-network" id: "{ENDED}"' \
    -m multiport --destination-ports 9092 -j CNI-DN-ca11c0
done
nft 'add table ip calico; add table ip6 calico; add table arp calico-arp'
cd /
sysctl -qw net.ipv4.conf.default.rp_filter=1
mkdir -p var/lib/calico run/calico/cgroup var/log/calico/cni run/nodeagent sys/fs/bpf/calico sys/fs/bpf/tc/globals
: >sys/fs/bpf/tc/globals/cali_v4_nat
mount -t tmpfs none run/calico/cgroup
echo n >var/lib/calico/nodename
echo '{{}}' | tee etc/cni/net.d/10-calico.conflist etc/cni/net.d/calico-kubeconfig >/dev/null
for b in calico calico-ipam install; do echo $b >opt/cni/bin/$b; done
echo '{{}}' >var/lib/cni/results/k8s-pod-network-{ENDED}-eth0
"""

CILIUM = rf"""
set -eu
exec 2>&1
ip link add cilium_host type veth peer name cilium_net
ip link add cilium_vxlan type vxlan id 9 dstport 8472 local 10.0.0.1
ip link add lxc0123456789ab type veth peer name eth1 netns cni-ended
ip rule add pref 9 fwmark 0x200/0xf00 lookup 2004
ip -6 rule add pref 10 fwmark 0xa00/0xf00 lookup 2005
ip rule add pref 100 lookup local
ip rule delete pref 0
ip route add local 0.0.0.0/0 dev lo table 2004
{EVERY}; do
  for table in raw mangle nat filter; do
    $t -w -t $table -N CILIUM_OUTPUT
    $t -w -t $table -A OUTPUT -m comment --comment "cilium-feeder: CILIUM_OUTPUT" -j CILIUM_OUTPUT
    $t -w -t $table -N OLD_CILIUM_OUTPUT
  done
done
ipset create cilium_node_set_v4 hash:ip
cd /
mkdir -p run/cilium/cgroupv2 var/lib/cilium etc/sysctl.d sys/fs/bpf/cilium/devices sys/fs/bpf/tc/globals
: >sys/fs/bpf/tc/globals/cilium_lxc
mount -t tmpfs none run/cilium/cgroupv2
echo '{{}}' >etc/cni/net.d/05-cilium.conflist
echo x >opt/cni/bin/cilium-cni
echo x >etc/sysctl.d/99-zzz-override_cilium.conf
"""

SEEN = rf"""
exec 2>/dev/null
ip -o link show | sed -E 's/^[0-9]+: ([^ @]+)[^ ]* (<[^>]*>).*/link \1 \2/' | sort
ip -o addr show scope global | sed -E 's/^[0-9]+: +//' | sort
for f in -4 -6; do
  ip $f rule show | tr '\t' ' '
  ip $f -o route show table all | grep -v 'fe80\|ff00' | sort
done
{EVERY}; do for table in raw mangle nat filter; do echo "$t $table"; $t -w -t $table -S; done; done
nft -s list ruleset
ipset list -n | sort
grep -v cgroup /proc/mounts | cut -d ' ' -f 2
find /etc/cni /etc/NetworkManager /opt/cni /var/lib/c* /var/log /run /sys/fs/bpf /etc/sysctl.d \
  -path /run/provision -prune -o -path /run/mount -prune -o -path /run/xtables.lock -prune -o -print | sort
"""
