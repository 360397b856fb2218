"""Readers of clips: films, animations, sequences of pictures, tables, arrays."""
