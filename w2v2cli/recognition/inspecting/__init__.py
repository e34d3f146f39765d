"""What a network makes of a recording, as a picture."""
