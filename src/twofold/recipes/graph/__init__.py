"""Recipes that learn from graphs."""
