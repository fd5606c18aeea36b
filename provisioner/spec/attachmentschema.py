"""The schema of a network that pods get beside the cluster's own (network.attachments)."""

from __future__ import annotations

from provisioner.spec import attachments, values
from provisioner.spec.schemarules import number, section, text

ATTACHMENT = section(
    {
        "name": text(values.dns_label, required=True),
        "namespace": text(values.dns_label),
        "type": text(allowed=list(attachments.TYPES), required=True),
        "master": text(values.interface),
        "mode": text(),
        "bridge": text(values.interface),
        "is_gateway": {"type": "boolean"},
        "masquerade": {"type": "boolean"},
        "device": text(values.interface),
        "resource": text(values.extended_resource),
        "mtu": number(576, 65535),
        "vlan": number(1, 4094),
        "nodes": {"type": "list", "empty": False, "schema": text()},
        "ipam": section(
            {
                "type": text(allowed=list(attachments.IPAMS), required=True),
                "ranges": {
                    "type": "list",
                    "empty": False,
                    "schema": section(
                        {
                            "subnet": text(values.cidr, required=True),
                            "start": text(values.address),
                            "end": text(values.address),
                            "gateway": text(values.address),
                        }
                    ),
                },
                "addresses": {
                    "type": "list",
                    "empty": False,
                    "schema": section(
                        {
                            "address": text(values.address_with_prefix, required=True),
                            "gateway": text(values.address),
                        }
                    ),
                },
                "routes": {
                    "type": "list",
                    "empty": False,
                    "schema": section(
                        {"to": text(values.route_target, required=True), "via": text(values.address)}
                    ),
                },
            }
        ),
    }
)
