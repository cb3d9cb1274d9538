"""Receivers of events: where they are, how far each is, and the sending to them, in order, until they have it."""
