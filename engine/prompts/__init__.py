"""Sounds that callers and shops hear: taken in, brought to telephone form, and named for Asterisk to play."""
