"""What happened, in order, for those outside who must not miss it."""
