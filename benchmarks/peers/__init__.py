"""This project beside what else hears English speech without a network, on the same recordings."""
