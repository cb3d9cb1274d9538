"""What every part stands on: clock, errors, ids, phone numbers, tasks, database, log. Knows nothing of calls."""
