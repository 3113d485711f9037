"""Which runs go on: values in, values out. No Ray, no files, no clock."""
