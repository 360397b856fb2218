"""Readers of sounds: one file a kind of source; `twofold.modalities.audio.data.read` chooses among them."""
