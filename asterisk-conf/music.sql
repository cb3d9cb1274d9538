-- Ringback classes, as Asterisk reads them (realtime family "musiconhold"). One row is one class; a new row counts at once.
-- mode 'files' plays the files of `directory` (absolute, one folder per class) in the order of their names, from the first
-- one's beginning for each caller, again and again.
CREATE TABLE IF NOT EXISTS musiconhold (
    name        TEXT PRIMARY KEY,
    mode        TEXT NOT NULL DEFAULT 'files',
    directory   TEXT NOT NULL,
    application TEXT,
    digit       TEXT,
    sort        TEXT NOT NULL DEFAULT 'alpha',
    format      TEXT
);
