"""The bridge to Ray: the only package in `gen` that imports it."""
