"""Systems that learn what people choose: from a graph of users and items, and from sequences of items."""
