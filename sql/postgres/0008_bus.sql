-- What has come of each sensor's numbered messages: see collector/bus_sequence.h.

CREATE TABLE bus_sequences (
    sensor  TEXT COLLATE "C"    NOT NULL,
    topic   TEXT COLLATE "C"    NOT NULL, -- alerts health
    run     TEXT COLLATE "C"    NOT NULL,
    first   BIGINT NOT NULL, -- the lowest number that came
    next    BIGINT NOT NULL, -- above the highest
    blocks  BYTEA    NOT NULL, -- of numbers in which some are missing
    due_at  BIGINT,          -- when some of them are lost
    used_at BIGINT NOT NULL,
    PRIMARY KEY (sensor, topic, run)
);
CREATE INDEX bus_sequences_due ON bus_sequences (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX bus_sequences_used ON bus_sequences (used_at);

ALTER TABLE sensors ADD COLUMN gaps BIGINT NOT NULL DEFAULT 0;    -- losses that were noticed
ALTER TABLE sensors ADD COLUMN missing BIGINT NOT NULL DEFAULT 0; -- messages in them
