"""Networks from pictures (n, c, s, s) to features (n, dim); `twofold.modalities.image.encoders` builds them by name."""
