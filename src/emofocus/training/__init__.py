"""Training loop, cross-validation and what they need."""
