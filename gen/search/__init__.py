"""Which runs of a search go on: values in, values out. No Ray, no files, no clock."""
