"""Who did what, to what, from where, and how it was before and after. Written once, never changed, and chained."""
