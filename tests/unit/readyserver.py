"""API servers that only say whether they are ready, by TLS on this machine; and scripts that ask them with curl."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from provisioner.pki.authority import KeyPair, Leaf, issue

SETPRIV = '#!/bin/sh\nwhile case $1 in --*) ;; *) false ;; esac; do shift; done\nexec "$@"\n'
"""Tests need not be root, and nobody else could read their files."""


@dataclass
class ReadyServer:
    """`ready` may be changed; `asked` are the Host headers of those who asked."""

    port: int = 0
    ready: bool = True
    asked: list[str] = field(default_factory=list)


@contextmanager
def ready_server(folder: Path, authority: KeyPair, names: Sequence[str]) -> Iterator[ReadyServer]:
    """Listens at 127.0.0.1, with a certificate for `names`."""
    pair = issue(authority, Leaf("kubernetes", (), tuple(names), ("server",)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (folder / "pair.pem").write_text(pair.cert + pair.key.reveal())
    context.load_cert_chain(folder / "pair.pem")
    made = ReadyServer()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.headers["Host"])
            self.send_response(200 if made.ready and self.path == "/readyz" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that does not like the certificate is no error of ours."""

    with Server(("127.0.0.1", 0), Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        made.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
