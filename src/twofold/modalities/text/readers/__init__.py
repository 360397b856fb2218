"""Texts out of files and tables."""
