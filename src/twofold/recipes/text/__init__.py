"""Systems that learn from texts."""
