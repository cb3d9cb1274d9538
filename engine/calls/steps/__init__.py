"""One file for each thing a party goes through: notice, ringback, dial, whisper, connect, record."""
