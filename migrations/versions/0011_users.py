"""Users, sessions, keys and the audit chain.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NEVER_CHANGED = ("audit", "audit_chain")

UP: tuple[str, ...] = (
    """
    CREATE TABLE users (
        id            uuid PRIMARY KEY,
        account_id    uuid NOT NULL REFERENCES accounts,
        login         text NOT NULL CHECK (login <> '' AND login = lower(login)),
        name          text NOT NULL,
        role          text NOT NULL,
        allowed       jsonb NOT NULL DEFAULT '[]',
        status        text NOT NULL CHECK (status IN ('invited', 'active', 'locked', 'removed')),
        password_hash text,
        password_at   timestamptz,
        totp          bytea,
        totp_since    timestamptz,
        totp_used     bigint NOT NULL DEFAULT 0,
        signed_in_at  timestamptz,
        created_at    timestamptz NOT NULL,
        CHECK (status <> 'active' OR password_hash IS NOT NULL),
        CHECK (totp_since IS NULL OR totp IS NOT NULL)
    )
    """,
    "COMMENT ON TABLE users IS 'People who sign in; each belongs to one account. Removed ones stay, for the audit.'",
    "COMMENT ON COLUMN users.allowed IS 'What a staff user may do beyond looking.'",
    "COMMENT ON COLUMN users.totp IS 'Secret of the one-time codes, sealed with DARI_SECRET_KEY.'",
    "COMMENT ON COLUMN users.totp_since IS 'Since when codes are asked for; empty while the secret is not confirmed.'",
    "COMMENT ON COLUMN users.totp_used IS 'The last time step whose code was taken: no code is taken twice.'",
    "CREATE UNIQUE INDEX users_by_login ON users (login) WHERE status <> 'removed'",
    "CREATE INDEX users_by_account ON users (account_id)",
    """
    CREATE TABLE user_tokens (
        hash       bytea PRIMARY KEY,
        user_id    uuid NOT NULL REFERENCES users,
        kind       text NOT NULL CHECK (kind IN ('invite', 'reset')),
        expires_at timestamptz NOT NULL
    )
    """,
    """
    COMMENT ON TABLE user_tokens IS
        'With which a password is set once: SHA-256 of each; gone when used, when a newer one was given, or in time.'
    """,
    "CREATE UNIQUE INDEX user_tokens_by_user ON user_tokens (user_id)",
    """
    CREATE TABLE sessions (
        id           uuid PRIMARY KEY,
        hash         bytea NOT NULL UNIQUE,
        user_id      uuid NOT NULL REFERENCES users,
        peer         text NOT NULL,
        created_at   timestamptz NOT NULL,
        used_at      timestamptz NOT NULL,
        idle_seconds integer NOT NULL CHECK (idle_seconds > 0),
        expires_at   timestamptz NOT NULL,
        ended_at     timestamptz
    )
    """,
    "COMMENT ON TABLE sessions IS 'Who is signed in: SHA-256 of each token. Ended ones are removed after a month.'",
    "CREATE INDEX sessions_by_user ON sessions (user_id, created_at)",
    "CREATE INDEX sessions_by_end ON sessions (expires_at)",
    """
    CREATE TABLE sign_in_attempts (
        subject  bytea PRIMARY KEY,
        failures integer NOT NULL CHECK (failures >= 0),
        last_at  timestamptz NOT NULL
    )
    """,
    """
    COMMENT ON TABLE sign_in_attempts IS
        'Failed sign-ins by SHA-256 of the login and of the address, from which the wait before the next one follows.'
    """,
    "CREATE INDEX sign_in_attempts_by_time ON sign_in_attempts (last_at)",
    """
    CREATE TABLE api_keys (
        id         uuid PRIMARY KEY,
        account_id uuid NOT NULL REFERENCES accounts,
        name       text NOT NULL,
        prefix     text NOT NULL UNIQUE,
        hash       bytea NOT NULL,
        scopes     jsonb NOT NULL,
        created_at timestamptz NOT NULL,
        created_by text NOT NULL,
        expires_at timestamptz,
        used_at    timestamptz,
        revoked_at timestamptz
    )
    """,
    "COMMENT ON TABLE api_keys IS 'Keys of programs: SHA-256 of each; the key itself is shown once.'",
    "CREATE INDEX api_keys_by_account ON api_keys (account_id)",
    """
    CREATE TABLE audit (
        id          uuid PRIMARY KEY,
        at          timestamptz NOT NULL,
        who         text NOT NULL CHECK (who <> ''),
        deed        text NOT NULL CHECK (deed <> ''),
        account_id  uuid,
        object_kind text NOT NULL,
        object_id   text NOT NULL,
        before      jsonb,
        after       jsonb,
        peer        text NOT NULL
    )
    """,
    """
    COMMENT ON TABLE audit IS
        'Who did what, from where, and how it was before and after; the field personal in before and after holds
people''s numbers. Never changed, never removed.'
    """,
    "CREATE INDEX audit_by_account ON audit (account_id, id DESC)",
    "CREATE INDEX audit_by_object ON audit (object_kind, object_id, id DESC)",
    "CREATE INDEX audit_by_who ON audit (who, id DESC)",
    "CREATE TABLE audit_waiting (id uuid PRIMARY KEY)",
    "COMMENT ON TABLE audit_waiting IS 'Entries of the audit that are not in the chain yet.'",
    """
    CREATE TABLE audit_chain (
        number bigint PRIMARY KEY CHECK (number > 0),
        entry  uuid NOT NULL UNIQUE,
        digest bytea NOT NULL CHECK (length(digest) = 32),
        hash   bytea NOT NULL CHECK (length(hash) = 32)
    )
    """,
    """
    COMMENT ON TABLE audit_chain IS
        'The audit''s entries in the order in which they were chained: SHA-256 of each, and of all up to it.'
    """,
    """
    CREATE TABLE audit_head (
        only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
        number   bigint NOT NULL,
        hash     bytea NOT NULL CHECK (length(hash) = 32)
    )
    """,
    "COMMENT ON TABLE audit_head IS 'The end of the chain: by it a tail cut off is missed. Whoever chains locks it.'",
    "INSERT INTO audit_head (number, hash) VALUES (0, decode(repeat('00', 32), 'hex'))",
    """
    CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit is only added to: % of % is refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    *(
        f"""
        CREATE TRIGGER {table}_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
        """
        for table in _NEVER_CHANGED
    ),
    """
    CREATE TRIGGER audit_head_stays BEFORE DELETE OR TRUNCATE ON audit_head
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
    """,
    """
    CREATE TRIGGER audit_head_only_forward BEFORE UPDATE ON audit_head
        FOR EACH ROW WHEN (NEW.number <= OLD.number) EXECUTE FUNCTION refuse_audit_change()
    """,
    """
    CREATE TRIGGER audit_waiting_stays BEFORE TRUNCATE ON audit_waiting
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
    """,
)

DOWN: tuple[str, ...] = (
    "DROP TABLE audit_head, audit_chain, audit_waiting, audit",
    "DROP FUNCTION refuse_audit_change()",
    "DROP TABLE api_keys, sign_in_attempts, sessions, user_tokens, users",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
