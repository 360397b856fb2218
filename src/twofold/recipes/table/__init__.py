"""Systems that learn from rows of tables."""
