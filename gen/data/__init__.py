"""Data sets: where they come from (`sources`), the checked array cache (`dataset`), the batch stream (`stream`)."""
