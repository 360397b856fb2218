"""Readers of pairs: tables, files that share a name, shards, and lists."""
