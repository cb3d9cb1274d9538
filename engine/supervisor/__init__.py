"""Starts the parts of Dari on one machine and starts a dead one again. Its own death harms nobody."""
