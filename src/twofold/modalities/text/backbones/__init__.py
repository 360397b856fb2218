"""Networks from token numbers to features."""
