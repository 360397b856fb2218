"""Networks of series: steps in, features of steps and of the whole out."""
