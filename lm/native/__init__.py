"""The compiled parts of the search, and how Python calls them."""
