"""Call records: one per call, spooled to disk first, closed once, then written to the database. Never loses one."""
