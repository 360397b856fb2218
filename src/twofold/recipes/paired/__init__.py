"""Systems that learn from pairs of two kinds of data, such as pictures and captions."""
