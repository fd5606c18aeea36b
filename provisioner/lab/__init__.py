"""Throw-away hosts on one machine: systemd-nspawn systems on a bridge of their own.

`up`, `down`, `status` and `power` are the doors; the rest are one concern a file.
"""
