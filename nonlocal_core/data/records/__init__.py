"""Decoded videos as records: planned, encoded, stored in shards, read at random."""
