"""`w2v2 align` and `w2v2 inspect`."""
