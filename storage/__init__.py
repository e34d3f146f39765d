"""Files that are whole or absent, their hashes, and data that holds no code. Knows no other package of ours."""
