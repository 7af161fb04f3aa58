"""Samples → frames of features (B, n, F)."""
