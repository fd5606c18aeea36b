"""`provision kubeconfig`."""

from __future__ import annotations

from pathlib import Path

import click

from provisioner.cli.options import inventory_argument, inventory_path
from provisioner.errors import InputError, Problem


@click.command()
@inventory_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Where to write it, with rights 0600; - prints it.  [default: CLUSTER.kubeconfig]",
)
@click.option(
    "--expiry", metavar="SPAN", default="8h", show_default=True, help="How long it lets in: 90s, 8h, 30d."
)
@click.option(
    "--user", metavar="NAME", help="Whose it is, as audit logs show it.  [default: who is logged in]"
)
@click.option("--server", metavar="URL", help="Another way to the API server: https://HOST:PORT.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value: path, user, server, expires.")
def command(
    inventory: str | None,
    output: Path | None,
    expiry: str,
    user: str | None,
    server: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write an admin kubeconfig for the cluster of INVENTORY, which is worth nothing after a time.

    The certificate is signed on this machine with the cluster's key, which is read from a control-plane host and not
    kept. Its group is bound to cluster-admin by the ClusterRoleBinding provision:cluster-admins: who deletes that takes
    all these kubeconfigs their rights until the next apply. It is merged into no other file.
    """
    import getpass

    from provisioner.action.access import admin_access, life_of
    from provisioner.action.keyfile import check_free, write_secret
    from provisioner.report.choose import reporter
    from provisioner.report.written import show_secret, show_written

    printed = output == Path("-")
    if printed and as_json:
        raise InputError(
            [Problem("--json", 0, 0, "the kubeconfig itself is printed with -o -", "leave one out")]
        )
    if output is not None and not printed:
        check_free(output, force=force)
    with reporter(as_json=False) as report:
        name, access = admin_access(
            inventory_path(inventory),
            user=user if user is not None else getpass.getuser(),
            life=life_of(expiry),
            server=server,
            emit=report.emit,
        )
    if printed:
        show_secret(access.text)
        return
    path = output or Path(f"{name}.kubeconfig")
    write_secret(access.text, path, force=force)
    facts = {"user": access.user, "server": access.server, "expires": f"{access.expires:%Y-%m-%dT%H:%M:%SZ}"}
    show_written(path, f"kubectl --kubeconfig={path} get nodes", as_json=as_json, **facts)
