"""One file for each experiment of the papers."""
