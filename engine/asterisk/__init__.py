"""Speaks with Asterisk: ARI events and commands, the manager (AMI). Knows nothing of 050 numbers."""
