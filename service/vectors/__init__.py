"""Vector stores: collections of items, each with the vectors of its windows, that a search finds by nearness."""
