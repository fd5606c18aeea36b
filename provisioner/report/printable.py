"""Texts of files and hosts, made fit for a terminal: what would steer it is shown, not obeyed."""

from __future__ import annotations

import re

# C0 and C1 controls but tab and newline, what reorders text or hides in it (Unicode's bidirectional controls, zero
# widths, line separators, byte order mark, tags), and halves of surrogate pairs, which cannot be encoded.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""`text` with every character that could steer a terminal as its escape (`\x1b`, `\u202e`)."""
    return _STEERING.sub(lambda found: _escape(ord(found.group())), text)


def _escape(code: int) -> str:
    if code == 0x0D:
        return "\\r"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
