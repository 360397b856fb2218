"""Systems that learn from clouds of points."""
