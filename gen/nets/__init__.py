"""Networks, ignorant of losses."""
