-- Who may ask: users, their sessions, API keys, the server's own secret, kept answers.
-- Times are nanoseconds since 1970.

CREATE TABLE users (
    id            INTEGER PRIMARY KEY,
    username      TEXT    NOT NULL UNIQUE, -- lower case
    email         TEXT,
    role          TEXT    NOT NULL CHECK (role IN ('viewer', 'analyst', 'admin')),
    password_hash TEXT    NOT NULL,        -- argon2id, with its salt and cost
    generation    INTEGER NOT NULL DEFAULT 1, -- raised to end all tokens of the user
    is_active     INTEGER NOT NULL DEFAULT 1,
    created_ns    INTEGER NOT NULL,
    updated_ns    INTEGER NOT NULL,
    last_login_ns INTEGER
);

-- One row a login: the family of refresh tokens, of which only the newest is good.
CREATE TABLE sessions (
    sid        TEXT    PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    refresh_jti TEXT   NOT NULL,
    created_ns INTEGER NOT NULL,
    used_ns    INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    is_revoked INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX sessions_user ON sessions (user_id, used_ns);
CREATE INDEX sessions_expires ON sessions (expires_ns);

-- Single access tokens that were ended before their time.
CREATE TABLE revoked_tokens (
    jti        TEXT    PRIMARY KEY,
    expires_ns INTEGER NOT NULL
);
CREATE INDEX revoked_tokens_expires ON revoked_tokens (expires_ns);

CREATE TABLE api_keys (
    id           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL,
    prefix       TEXT    NOT NULL,       -- what people may see: wind_7_k3f9
    secret_hash  BLOB    NOT NULL UNIQUE, -- SHA-256 of 160 random bits: needs no salt
    scopes       TEXT    NOT NULL,       -- words, separated by spaces
    created_by   INTEGER REFERENCES users (id) ON DELETE SET NULL, -- NULL: the command line
    created_ns   INTEGER NOT NULL,
    expires_ns   INTEGER,
    last_used_ns INTEGER,
    is_revoked   INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
);

-- Answers kept for Idempotency-Key. status 0: the first request is still running.
CREATE TABLE replays (
    key_hash   BLOB    PRIMARY KEY,
    body_hash  BLOB    NOT NULL,
    status     INTEGER NOT NULL,
    body       BLOB,
    created_ns INTEGER NOT NULL
);
CREATE INDEX replays_created ON replays (created_ns);
