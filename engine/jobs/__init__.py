"""Work that outlives a request: enqueued in the transaction that makes it needed, done by the jobs role."""
