"""n-gram models made smaller or mixed, as tables in memory."""
