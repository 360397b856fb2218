"""Networks on clouds of points."""
