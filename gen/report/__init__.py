"""One HTML page of what an experiment found: facts from the tables, a section a module, no Ray and no torch."""
