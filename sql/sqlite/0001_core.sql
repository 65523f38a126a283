-- Alerts, incidents and what hangs on them. Times are nanoseconds since 1970, UTC: event time
-- in detected_at, first_seen, last_seen; the collector's own clock in created_at, updated_at, at.
-- Addresses are 16 bytes, big endian, IPv4 mapped, so that a CIDR is a range of bytes.
-- Severity is 1 low, 2 medium, 3 high, 4 critical.

CREATE TABLE incidents (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    uid         BLOB    NOT NULL UNIQUE CHECK (length(uid) = 16),
    title       TEXT    NOT NULL,
    description TEXT    NOT NULL DEFAULT '',
    type        TEXT    NOT NULL,
    status      TEXT    NOT NULL DEFAULT 'open',
    severity    INTEGER NOT NULL CHECK (severity BETWEEN 1 AND 4),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    created_by  TEXT    NOT NULL,
    assigned_to TEXT,
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    alert_count INTEGER NOT NULL DEFAULT 0,
    version     INTEGER NOT NULL DEFAULT 1, -- grows with every change; the ETag
    kept        INTEGER NOT NULL DEFAULT 0  -- bits: 1 title, 2 type, 4 severity were set by people
) STRICT;
CREATE INDEX incidents_last_seen ON incidents (last_seen);
CREATE INDEX incidents_status ON incidents (status, severity);

CREATE TABLE alerts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    uid         BLOB    NOT NULL UNIQUE CHECK (length(uid) = 16),
    rev         INTEGER NOT NULL,
    detected_at INTEGER NOT NULL,
    severity    INTEGER NOT NULL CHECK (severity BETWEEN 1 AND 4),
    type        TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    description TEXT    NOT NULL,
    status      TEXT    NOT NULL DEFAULT 'new',
    verdict     TEXT,
    assigned_to TEXT,
    kept        INTEGER NOT NULL DEFAULT 0, -- bits: 4 severity was set by people
    tactic      TEXT,                       -- ATT&CK, as in metadata.technique
    score       REAL,
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    src         BLOB CHECK (length(src) = 16),
    dst         BLOB CHECK (length(dst) = 16),
    src_port    INTEGER,
    dst_port    INTEGER,
    proto       TEXT,
    metadata    TEXT    NOT NULL DEFAULT '{}', -- JSON
    incident_id INTEGER REFERENCES incidents (id),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX alerts_time ON alerts (detected_at, severity, type, status); -- covers the statistics
CREATE INDEX alerts_incident ON alerts (incident_id);
CREATE INDEX alerts_src ON alerts (src);
CREATE INDEX alerts_dst ON alerts (dst);

CREATE TABLE entities (
    id    INTEGER PRIMARY KEY,
    kind  TEXT NOT NULL, -- host user domain service file asn
    value TEXT NOT NULL,
    addr  BLOB CHECK (length(addr) = 16), -- of a host
    UNIQUE (kind, value)
) STRICT;
CREATE INDEX entities_addr ON entities (addr);

CREATE TABLE alert_entities (
    alert_id  INTEGER NOT NULL REFERENCES alerts (id),
    pos       INTEGER NOT NULL, -- order as the sensor wrote it: 0 is whom the alert is about
    entity_id INTEGER NOT NULL REFERENCES entities (id),
    role      TEXT    NOT NULL, -- attacker victim related
    PRIMARY KEY (alert_id, pos)
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_entities_entity ON alert_entities (entity_id, role, alert_id);

-- What correlation asks: who plays which part, by what kind of alert, in which incident.
CREATE TABLE incident_entities (
    entity_id   INTEGER NOT NULL REFERENCES entities (id),
    role        TEXT    NOT NULL,
    alert_type  TEXT    NOT NULL,
    incident_id INTEGER NOT NULL REFERENCES incidents (id),
    PRIMARY KEY (entity_id, role, alert_type, incident_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX incident_entities_incident ON incident_entities (incident_id);

CREATE TABLE comments (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    incident_id INTEGER NOT NULL REFERENCES incidents (id),
    author      TEXT    NOT NULL,
    text        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    edited_at   INTEGER
) STRICT;
CREATE INDEX comments_incident ON comments (incident_id);

CREATE TABLE tags (
    topic     TEXT    NOT NULL, -- alerts incidents
    object_id INTEGER NOT NULL,
    tag       TEXT    NOT NULL,
    PRIMARY KEY (topic, object_id, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_tag ON tags (topic, tag);

CREATE TABLE history (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    topic     TEXT    NOT NULL,
    object_id INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    actor     TEXT    NOT NULL,
    field     TEXT    NOT NULL,
    old       TEXT,
    new       TEXT
) STRICT;
CREATE INDEX history_object ON history (topic, object_id);

CREATE TABLE sensors (
    name       TEXT PRIMARY KEY,
    version    TEXT    NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    alerts     INTEGER NOT NULL DEFAULT 0,
    updates    INTEGER NOT NULL DEFAULT 0,
    rejected   INTEGER NOT NULL DEFAULT 0,
    stats      TEXT -- JSON: the latest stats record
) STRICT;

-- What live listeners have to hear. Written in the transaction of the change; there is one
-- writer, so seq grows in the order of commits.
CREATE TABLE outbox (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    topic     TEXT    NOT NULL, -- alerts incidents
    object_id INTEGER NOT NULL,
    op        TEXT    NOT NULL, -- created updated
    at        INTEGER NOT NULL
) STRICT;
