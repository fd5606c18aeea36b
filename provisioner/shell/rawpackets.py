"""IP protocol 4 for a host that has Python and not Perl: sent there as text (between-raw.pl is its twin).

Listens, or, with ID:ADDRESS... after the round's name, sends.
"""

import re
import socket
import struct
import sys

_INNER = struct.pack("!BBHHHBBHII", 0x45, 0, 20, 0, 0, 1, 253, 0, 0xC0000201, 0xC0000202)
"""An IPv4 header with a wrong checksum, so that no tunnel takes it for traffic."""


def main() -> None:
    """Needs CAP_NET_RAW. Has to run under Python 3.6, too."""
    name, receivers = sys.argv[1], sys.argv[2:]
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 4)
    for each in receivers:
        number, _, address = each.partition(":")
        raw.sendto(_INNER + f"provision {name} {number} \n".encode(), (address, 0))
    if not receivers:
        print("listening ipip 0", flush=True)  # noqa: T201  # on a host
    while not receivers:
        found = re.search(rb"provision (\w+) (\d+) ", raw.recv(65535))
        if found and found[1].decode() == name:
            print("got " + found[2].decode(), flush=True)  # noqa: T201  # on a host


if __name__ == "__main__":
    main()
