"""The message after a call: when, to whom, what, and why not."""
