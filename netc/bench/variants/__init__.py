"""Ways to compute a training step, one a file; see netc.bench.registry."""
