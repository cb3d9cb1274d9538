"""HTTP for programs: health, readiness and delivery receipts. Thin doors; decides nothing."""
