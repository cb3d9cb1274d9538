"""Decides by number, caller and instant what a call will go through. Never does it."""
