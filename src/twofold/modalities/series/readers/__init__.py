"""Readers of series: what lies in arrays, .ts files, tables and folders, as recordings."""
