"""Stamps: what a large file held when it was installed, with the stat of that moment, so that reads need no hashing.

The fragment in `READ` prints every stamp with the file's stat of now; any write, replacement or touch of the file
changes inode, size, mtime or ctime, and then the stamp no longer speaks for it.
"""

from __future__ import annotations

READ = """
for f in /var/lib/provision/stamps/*; do
  case $f in *.tmp | *'*') continue ;; esac
  { IFS= read -r path && IFS= read -r digest && IFS= read -r noted; } <"$f" || continue
  now=$(stat -c '%i %s %Y %.9Z' -- "$path" 2>/dev/null) || continue
  [ "$now" = "$noted" ] && echo "$digest  $path"
done
:
"""
"""Prints `SHA256  PATH` for each file that is as it was when it was installed."""

OURS = """
ours() {
  f=/var/lib/provision/stamps/$(printf '%s' "$1" | sha256sum | cut -c1-32)
  { IFS= read -r path && IFS= read -r noted && IFS= read -r noted; } 2>/dev/null <"$f" || return 1
  [ "$path" = "$1" ] && [ "$(stat -c '%i %s %Y %.9Z' -- "$1" 2>/dev/null)" = "$noted" ]
}
"""
"""`ours PATH`: whether the file is one that was installed with a stamp, and as it was then."""


def parse_stamps(output: bytes) -> dict[str, str]:
    """SHA-256 (hex) by path."""
    lines = output.decode(errors="replace").splitlines()
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines) if path}
