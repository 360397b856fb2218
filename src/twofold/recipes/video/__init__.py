"""Systems that learn from clips."""
