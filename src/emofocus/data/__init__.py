"""Feature cache, feature files and segment datasets."""
