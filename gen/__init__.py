"""genfleet's library: models, the engine that trains them, data, metrics and results. Usable without Ray."""
