"""One job divided among several processes."""
