"""The `dari` command: one file per command. Thin doors; decides nothing."""
