"""Run by test_concurrent.py: python fleet_writer.py PLACE INDEX RUNS TICKS. With an even index it writes runs that
checkpoint, with an odd one short runs into a slot."""

import sys

from example_rows import begin, end, go, whole_run

from gen.results import Ledger, Slot, Storage, new_attempt

if __name__ == "__main__":
    storage, index, runs, ticks = Storage(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    attempt = new_attempt()
    slot = Slot(storage, "e", f"{attempt}-{index}")
    for number in range(runs):
        run = f"run-{index}-{number}"
        if index % 2:
            whole_run(Ledger(storage, "e", run, attempt, slot=slot), ticks)
            continue
        ledger = Ledger(storage, "e", run, attempt)
        begin(ledger)
        for tick in range(ticks):
            go(ledger, tick)
            if tick % 2 and tick < ticks - 1:
                ledger.flush(tick)
        end(ledger, ticks - 1)
        ledger.close(ticks - 1)
