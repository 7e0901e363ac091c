"""Benches that come with the package: what a model takes and does on this machine."""
