"""Searches without a signal hypothesis: scores of how unusual an event is, one file per method."""
