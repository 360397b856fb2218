"""Readers of pictures: one file a kind of source; `twofold.modalities.image.data.read` chooses among them."""
