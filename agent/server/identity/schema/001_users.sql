-- Who may log in. Small, and apart from the readings: it is backed up and restored on its own.

CREATE TABLE user (
    name          TEXT PRIMARY KEY COLLATE NOCASE,
    role          TEXT NOT NULL,
    password_hash TEXT NOT NULL,     -- argon2id, PHC string
    generation    INTEGER NOT NULL,  -- grows with each new password: older refresh tokens end
    created_ms    INTEGER NOT NULL
);
