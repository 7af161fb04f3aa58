"""Protocols, folds, their files and the leakage audit."""
