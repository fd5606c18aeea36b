"""The module `certificate`: a key and certificate signed by one of the cluster's CAs, compared by meaning."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cryptography import x509

from provisioner.inventory.words import nearest
from provisioner.pki.authority import USAGES, KeyPair, Leaf, issue, key_identifier
from provisioner.resources.model import Absent, Change, Owned, Plain, Present, Resource, State
from provisioner.resources.stamps import READ as READ_STAMPS
from provisioner.resources.stamps import parse_stamps
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Blob, Script

RENEW_DAYS = 120
"""A certificate that ends in fewer days than this is issued anew: one `apply` in a quarter is enough."""

_READ = """
for n in %s; do
  if [ ! -f "$n.crt" ] || [ ! -f "$n.key" ]; then continue; fi
  echo "=$n $(stat -c '%%a %%U' -- "$n.key")"
  cat -- "$n.crt"
done
echo %%stamps
"""


class CertificateKind:
    """Attributes: issuer (key identifier), subject, sans, usages, expiry ("ok" or "due"), key ("paired" when the key
    file is the one that came with this certificate), mode, owner of the key.

    With `more_sans` names that are there beside those that are wanted are let be: they go when it is issued anew. With
    `keep_sans` they stay then, too, if its issuer is the same; attribute `had` are all names that it has.
    """

    name = "certificate"
    ours = ("issuer", "subject", "key")

    def __init__(self, authorities: Mapping[str, KeyPair]) -> None:
        self._authorities = authorities

    def build(self, task: TaskCall) -> Sequence[Resource]:
        lists = dict.fromkeys(("organizations", "sans", "usages"), list)
        optional = {**lists, "owner": str, "more_sans": bool, "keep_sans": bool}
        task.check({"dest": str, "authority": str, "common_name": str}, optional)
        authority = str(task.args["authority"])
        if authority not in self._authorities:
            near = nearest(authority, self._authorities)
            raise task.error(
                f"no authority '{authority}'", f"did you mean '{near}'?" if near else "", "authority"
            )
        leaf = Leaf(
            common_name=str(task.args["common_name"]),
            organizations=_texts(task, "organizations"),
            sans=tuple(dict.fromkeys(_canonical(name) for name in _texts(task, "sans"))),
            usages=_texts(task, "usages") or ("client",),
        )
        if unknown := set(leaf.usages) - set(USAGES):
            raise task.error(f"unknown usage '{unknown.pop()}'", "use 'server' and 'client'", "usages")
        dest, owner = task.path("dest"), str(task.args.get("owner") or "root")
        attrs = self._meaning(authority, leaf) | {"mode": "600", "owner": owner}
        spec = {
            "authority": authority,
            "leaf": leaf,
            "owner": owner,
            "more_sans": bool(task.args.get("more_sans")),
            "keep_sans": bool(task.args.get("keep_sans")),
        }
        return [Resource("certificate", dest, Present(attrs), spec, writes=(f"{dest}.crt", f"{dest}.key"))]

    def probe(self, resources: Sequence[Resource]) -> Script:
        return Script(_READ % words(each.name for each in resources) + READ_STAMPS)

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        text, _, stamps = output.decode(errors="replace").partition("%stamps\n")
        pairs = parse_stamps(stamps.encode())
        states: dict[str, State] = {each.id: Absent() for each in resources}
        wider = {each.name: _sans_wanted(each) for each in resources if each.spec.get("more_sans")}
        keeping = {each.name for each in resources if each.spec.get("keep_sans")}
        for block in ("\n" + text).split("\n=")[1:]:
            head, _, pem = block.partition("\n")
            name, mode, owner = head.rsplit(" ", 2)
            attrs = _read(pem if pem.endswith("\n") else pem + "\n", pairs.get(f"{name}.key"))
            had = attrs.get("sans", ())
            if name in wider and wider[name] <= set(_plain(attrs.get("sans"))):
                attrs["sans"] = tuple(sorted(wider[name]))
            if name in keeping:
                attrs["had"] = had
            states[f"certificate:{name}"] = Present({**attrs, "mode": mode, "owner": owner})
        return states

    def change(self, change: Change) -> Script:
        resource = change.resource
        if isinstance(resource.desired, Absent):
            return Script(f"rm -f -- {quote(resource.name)}.key {quote(resource.name)}.crt\n")
        pair = issue(self._authorities[resource.spec["authority"]], _leaf(change))
        cert = Blob.of(pair.cert.encode())
        name, owner = quote(resource.name), quote(resource.spec["owner"])
        aside = f"displace {name}.key\ndisplace {name}.crt\n" if change.foreign else ""
        script = (
            f'{aside}mkdir -p -- "$(dirname -- {name})"\n'
            f'put "$P/key" {name}.key 600 {owner} root\nput "$P/crt" {name}.crt 644 {owner} root\n'
            f"stamp {name}.key {cert.sha256}\n"
        )
        return Script(script, {"key": Blob.of(pair.key.reveal().encode(), secret=True), "crt": cert})

    def gone(self, owned: Owned) -> Resource | None:
        """Absent; an original that was moved aside stays there, because a key is nothing to put back unasked."""
        return owned.wish(Absent(), (f"{owned.name}.crt", f"{owned.name}.key"))

    def _meaning(self, authority: str, leaf: Leaf) -> dict[str, Plain]:
        ca = x509.load_pem_x509_certificate(self._authorities[authority].cert.encode())
        return {
            "issuer": key_identifier(ca),
            "subject": _subject(leaf.organizations, leaf.common_name),
            "sans": tuple(sorted(leaf.sans)),
            "usages": tuple(sorted(leaf.usages)),
            "expiry": "ok",
            "key": "paired",
        }


def _leaf(change: Change) -> Leaf:
    """What is issued: what is wanted, and the names that stay."""
    leaf: Leaf = change.resource.spec["leaf"]
    before, desired = change.before, change.resource.desired
    if not isinstance(before, Present) or not isinstance(desired, Present):
        return leaf
    ours = before.attrs.get("issuer") == desired.attrs["issuer"]
    had = _plain(before.attrs.get("had")) if ours else ()
    return replace(leaf, sans=tuple(dict.fromkeys([*leaf.sans, *had])))


def _sans_wanted(resource: Resource) -> set[str]:
    return set(_plain(resource.desired.attrs["sans"])) if isinstance(resource.desired, Present) else set()


def _plain(value: Plain) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


def _texts(task: TaskCall, key: str) -> tuple[str, ...]:
    return tuple(str(each) for each in task.args.get(key) or ())


def _canonical(name: str) -> str:
    """An address in the one form in which certificates are read back; a DNS name as it is."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _subject(organizations: Sequence[str], common_name: str) -> str:
    return ",".join([*(f"O={each}" for each in organizations), f"CN={common_name}"])


def _read(pem: str, paired_with: str | None) -> dict[str, Plain]:
    """What a certificate says, in the same words as the wish."""
    try:
        cert = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return {"subject": "(not a certificate)"}
    organizations = [
        str(each.value) for each in cert.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    ]
    common = [str(each.value) for each in cert.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    left = cert.not_valid_after_utc - dt.datetime.now(dt.UTC)
    return {
        "issuer": _issuer(cert),
        "subject": _subject(organizations, common[0] if common else ""),
        "sans": tuple(sorted(_sans(cert))),
        "usages": tuple(sorted(_usages(cert))),
        "expiry": "ok" if left > dt.timedelta(days=RENEW_DAYS) else "due",
        "key": "paired" if hashlib.sha256(pem.encode()).hexdigest() == paired_with else "unpaired",
    }


def _issuer(cert: x509.Certificate) -> str:
    try:
        identifier = cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return ""
    return identifier.hex() if identifier else ""


def _sans(cert: x509.Certificate) -> list[str]:
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(each.value) for each in names]


def _usages(cert: x509.Certificate) -> list[str]:
    try:
        oids = set(cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return []
    return [name for name, oid in USAGES.items() if oid in oids]
