"""Rules between fields: each takes the draft and yields problems.

Values that are wrong by themselves are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from provisioner.errors import Problem
from provisioner.spec.draft import Draft
from provisioner.spec.rules import (
    addresses,
    attachmentaddresses,
    attachments,
    calico,
    calicochoices,
    calicoreach,
    cilium,
    dns,
    felix,
    flannel,
    networks,
    operator,
    pods,
    policies,
    ports,
    roles,
    taints,
    tuning,
)

Rule = Callable[[Draft], Iterator[Problem]]

RULES: tuple[Rule, ...] = (
    roles.groups_are_filled,
    roles.etcd_has_a_majority,
    roles.nodes_are_nodes,
    roles.names_fit_kubernetes,
    roles.registry_fits_its_certificate,
    addresses.hosts_have_addresses,
    addresses.addresses_are_machines,
    addresses.control_planes_have_ipv4,
    addresses.addresses_are_unique,
    addresses.second_addresses_are_of_the_other_family,
    addresses.endpoint_serves_the_api,
    addresses.load_balancers_share_an_address,
    networks.one_cidr_a_family,
    networks.families_agree,
    networks.cidrs_are_apart,
    networks.hosts_are_outside,
    networks.pod_cidrs_hold_all_nodes,
    networks.service_cidrs_have_a_fit_size,
    networks.dns_address_is_a_service,
    dns.dns_pods_have_nodes,
    dns.forwarding_has_one_protocol,
    dns.stub_domains_are_elsewhere,
    dns.name_servers_are_elsewhere,
    flannel.options_belong_to_the_backend,
    flannel.one_way_to_find_the_link,
    flannel.the_backend_has_the_families,
    flannel.tunnels_have_ports_of_their_own,
    calico.sections_belong_to_the_plugin,
    calico.canal_has_flannel_carry,
    calico.pools_are_of_the_pods,
    calico.families_have_pools,
    calico.blocks_fit_pod_cidrs,
    calico.nodes_find_their_own_address,
    calico.peers_are_whole,
    calico.reflectors_are_nodes,
    calico.methods_find_each_family,
    calicochoices.pools_choose_every_node,
    calicochoices.peers_choose_every_node,
    calicoreach.bgp_is_spoken,
    calicoreach.cluster_ids_are_of_reflectors,
    calicoreach.announced_services_are_ours,
    calicoreach.pools_hold_all_nodes,
    felix.felix_s_numbers_are_in_bounds,
    felix.felix_s_tunnels_have_ports_of_their_own,
    operator.the_operator_is_asked_for,
    operator.the_operator_has_its_own_way,
    operator.installation_has_no_second_word,
    cilium.options_belong_to_the_mode,
    cilium.there_is_ipv4,
    cilium.pools_are_of_the_pods,
    cilium.pools_hold_all_nodes,
    cilium.native_routes_lead_to_all_pods,
    cilium.hubble_is_whole,
    cilium.the_proxy_is_somebody,
    policies.policies_are_enforced,
    policies.policies_have_names_of_their_own,
    policies.policies_say_something,
    policies.policies_name_somebody,
    policies.policies_leave_the_cluster_its_dns,
    attachments.the_network_is_ours,
    attachments.attachments_have_names,
    attachments.keys_belong_to_the_type,
    attachments.modes_belong_to_the_type,
    attachments.links_bear_it,
    attachments.attachments_are_on_nodes,
    attachmentaddresses.keys_belong_to_the_ipam,
    attachmentaddresses.ranges_are_whole,
    attachmentaddresses.ranges_are_apart,
    attachmentaddresses.routes_leave_the_cluster_alone,
    attachmentaddresses.gateways_are_on_the_link,
    pods.pods_have_addresses,
    ports.ports_are_free,
    taints.taints_do_not_clash,
    tuning.links_are_found_in_one_way,
    tuning.settings_are_nobody_elses,
    tuning.settings_take_their_values,
    tuning.checksums_are_of_a_tunnel,
)


def broken_rules(draft: Draft) -> list[Problem]:
    """Every problem that a rule finds."""
    return [problem for rule in RULES for problem in rule(draft)]
