"""Training from shards, for corpora larger than memory."""
