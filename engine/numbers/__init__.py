"""The numbers that Dari serves and what each is set to do. Never decides about a call."""
