"""Results, comparisons, ensembles, robustness and benchmarks."""
