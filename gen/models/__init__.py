"""Models, one file for each game: its networks, phases and losses."""
