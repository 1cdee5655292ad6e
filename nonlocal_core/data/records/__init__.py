"""Decoded videos as records: planned, encoded, stored in shards, and read in any order."""
