"""The standard library's compression.zstd, or, before Python 3.14, the package that it was taken from."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression import zstd as library
else:
    from backports import zstd as library

__all__ = ["library"]
