"""Systems that learn from series: sensor streams and skeletons."""
