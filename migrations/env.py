"""Runs the migration scripts on the connection that `engine.foundation.schema` gives: `dari migrate` is the way in."""

from __future__ import annotations

from alembic import context
from alembic.util import CommandError

connection = context.config.attributes.get("connection")
if connection is None:
    raise CommandError("migrations are run by `dari migrate`, not by the alembic program")
context.configure(connection=connection, target_metadata=None)
with context.begin_transaction():
    context.run_migrations()
