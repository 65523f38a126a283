-- What has come of each sensor's numbered messages: see collector/bus_sequence.h.

CREATE TABLE bus_sequences (
    sensor  TEXT    NOT NULL,
    topic   TEXT    NOT NULL, -- alerts health
    run     TEXT    NOT NULL,
    first   INTEGER NOT NULL, -- the lowest number that came
    next    INTEGER NOT NULL, -- above the highest
    blocks  BLOB    NOT NULL, -- of numbers in which some are missing
    due_at  INTEGER,          -- when some of them are lost
    used_at INTEGER NOT NULL,
    PRIMARY KEY (sensor, topic, run)
) STRICT;
CREATE INDEX bus_sequences_due ON bus_sequences (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX bus_sequences_used ON bus_sequences (used_at);

ALTER TABLE sensors ADD COLUMN gaps INTEGER NOT NULL DEFAULT 0;    -- losses that were noticed
ALTER TABLE sensors ADD COLUMN missing INTEGER NOT NULL DEFAULT 0; -- messages in them
