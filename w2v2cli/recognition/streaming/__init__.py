"""Transcribing sound while it arrives."""
