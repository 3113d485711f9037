"""Throughput, parity and kill figures: python -m jobs.bench COMMAND."""
