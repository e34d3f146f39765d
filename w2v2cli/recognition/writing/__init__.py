"""Where results go: files written whole, and the record of what made them."""
