"""The messages after a call, also those the caller asked for or was promised: when, to whom, what, and why not."""
