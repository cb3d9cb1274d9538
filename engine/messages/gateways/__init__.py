"""One file per message gateway, all speaking the same protocol towards the outbox."""
