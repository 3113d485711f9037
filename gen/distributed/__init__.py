"""Workers and devices: who shares a step, seeds, threads."""
