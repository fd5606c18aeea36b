"""Which publishers can be reached. Asked once, all at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

SECONDS = 2.0
# 401 is a registry's greeting to those without a token.
_ALIVE = frozenset((200, 301, 302, 303, 307, 308, 401))


def reachable(urls: Iterable[str], seconds: float = SECONDS) -> frozenset[str]:
    """The hosts (as in `dl.k8s.io`, with the port if one is given) of the addresses that answer within
    `seconds`.
    """
    first_of_host = {urlsplit(url).netloc: url for url in urls}
    answered: set[str] = set()
    threads = [
        # A name server that says nothing cannot be interrupted: such a thread is left behind, not waited for.
        threading.Thread(target=_ask, args=(host, url, seconds, answered), daemon=True)
        for host, url in first_of_host.items()
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return frozenset(answered)


def _ask(host: str, url: str, seconds: float, answered: set[str]) -> None:
    import urllib3

    from provisioner.bundle.download import client

    try:
        response = client(url).request("HEAD", url, retries=False, redirect=False, timeout=seconds)
    except (urllib3.exceptions.HTTPError, OSError):
        return
    if response.status in _ALIVE:
        answered.add(host)
