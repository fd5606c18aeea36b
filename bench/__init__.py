"""Measurements beside other tools. Not part of the product; see README.md."""
