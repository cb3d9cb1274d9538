"""Who owns numbers, calls and messages, and which sender numbers each has registered."""
