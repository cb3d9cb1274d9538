"""Numbers: each reason for which one is suspended, by whom; free ones found by their length too, in fewer reads.

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

FREE = "WHERE state = 'available'"
INDEXES = {"number_stock_free": "", "number_stock_free_by_exchange": "(left(number, 4)), "}

UP = (
    "ALTER TABLE number_stock ADD COLUMN suspensions jsonb NOT NULL DEFAULT '[]'",
    """
    COMMENT ON COLUMN number_stock.suspensions IS
        'Why it is suspended, the gravest reason first: why, by whom, since when, what callers hear.'
    """,
    """
    UPDATE number_stock AS stock SET suspensions = jsonb_build_array(jsonb_build_object(
        'why', suspended_for,
        'by', coalesce((
            SELECT who FROM number_history
            WHERE number = stock.number AND move = 'suspended' ORDER BY id DESC LIMIT 1
        ), 'operator of this machine'),
        'at', to_char(changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'announcement', coalesce((SELECT suspended FROM numbers WHERE number = stock.number), 'ko/not-in-service')
    ))
    WHERE state = 'suspended'
    """,
    "ALTER TABLE number_stock DROP COLUMN suspended_for",
    "ALTER TABLE number_stock ADD CHECK ((suspensions <> '[]') = (state = 'suspended'))",
    "DROP INDEX number_stock_free, number_stock_free_by_exchange",
    *(
        f"""
        CREATE INDEX {name}
            ON number_stock (kind, {parts}(length(number)), (reverse(number) COLLATE "C")) INCLUDE (number) {FREE}
        """
        for name, parts in INDEXES.items()
    ),
    """
    COMMENT ON INDEX number_stock_free IS
        'Free numbers of each length by their digits from the last to the first: for choosing, without the table.'
    """,
    "COMMENT ON INDEX number_stock_free_by_exchange IS 'As number_stock_free, within the first four digits.'",
    "CREATE STATISTICS number_stock_by_exchange ON (left(number, 4)) FROM number_stock",
    "CREATE STATISTICS number_stock_by_length ON (length(number)) FROM number_stock",
    "COMMENT ON STATISTICS number_stock_by_exchange IS 'Which index of free numbers is the shorter way.'",
    "COMMENT ON STATISTICS number_stock_by_length IS 'Which index of free numbers is the shorter way.'",
    "ANALYZE number_stock",
)

DOWN = (
    "DROP STATISTICS number_stock_by_exchange, number_stock_by_length",
    f"DROP INDEX {', '.join(INDEXES)}",
    f'CREATE INDEX number_stock_free ON number_stock (kind, (reverse(number) COLLATE "C")) {FREE}',
    f"""
    CREATE INDEX number_stock_free_by_exchange
        ON number_stock (kind, (left(number, 4)), (reverse(number) COLLATE "C")) {FREE}
    """,
    """
    ALTER TABLE number_stock ADD COLUMN suspended_for text
        CHECK (suspended_for IN ('wish', 'period over', 'barred'))
    """,
    "UPDATE number_stock SET suspended_for = suspensions #>> '{0,why}' WHERE state = 'suspended'",
    "ALTER TABLE number_stock DROP COLUMN suspensions",
    "ALTER TABLE number_stock ADD CHECK ((suspended_for IS NOT NULL) = (state = 'suspended'))",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
