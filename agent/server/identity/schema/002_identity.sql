-- Sessions, second factors and keys beside the users.

ALTER TABLE user ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE user ADD COLUMN unlocks INTEGER NOT NULL DEFAULT 0;        -- grows with each `user unlock`
ALTER TABLE user ADD COLUMN totp_secret TEXT;                          -- base32; NULL: no second factor
ALTER TABLE user ADD COLUMN totp_step INTEGER NOT NULL DEFAULT 0;      -- of the last code taken: none twice
ALTER TABLE user ADD COLUMN totp_failures INTEGER NOT NULL DEFAULT 0;  -- since the last code taken

CREATE TABLE recovery_code (
    user TEXT NOT NULL COLLATE NOCASE REFERENCES user (name),
    hash BLOB NOT NULL,                -- SHA-256: the codes are random, nothing to guess
    PRIMARY KEY (user, hash)
) WITHOUT ROWID;

-- One row for each login that may still be renewed: its newest refresh token is the only good one.
CREATE TABLE session (
    id         TEXT PRIMARY KEY,
    user       TEXT NOT NULL COLLATE NOCASE REFERENCES user (name),
    token_id   TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    used_ms    INTEGER NOT NULL,
    expires_s  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX session_by_user ON session (user, used_ms);

CREATE TABLE api_key (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE COLLATE NOCASE,
    hash       BLOB NOT NULL,          -- SHA-256 of the whole key
    scopes     TEXT NOT NULL,          -- separated by spaces
    created_by TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_s  INTEGER                 -- NULL: until revoked
) WITHOUT ROWID;
