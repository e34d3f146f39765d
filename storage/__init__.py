"""Files that are whole or absent, their hashes, and data that holds no code.

Imports no other package of this project.
"""
