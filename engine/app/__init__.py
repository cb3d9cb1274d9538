"""The only place where things are put together: one file per role, with what its process opens, and closes again."""
