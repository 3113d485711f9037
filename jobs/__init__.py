"""Batch jobs: python -m jobs.NAME."""

import sys

from jobs import interrupt

if sys.argv[0] == "-m":  # as long as Python looks for jobs.NAME: the imports, which take seconds, are still to come
    interrupt.guard()
