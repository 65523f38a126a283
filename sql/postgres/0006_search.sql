-- The text index, filled behind the commits by collector/search.h: words as
-- collector/search_token.h writes them, so that to_tsvector has nothing to decide.

CREATE TABLE alert_text (
    rowid  BIGINT PRIMARY KEY,
    tokens TEXT COLLATE "C" NOT NULL,
    words  TSVECTOR GENERATED ALWAYS AS (to_tsvector('simple', tokens)) STORED
);
CREATE INDEX alert_text_words ON alert_text USING gin (words);

CREATE TABLE incident_text (
    rowid  BIGINT PRIMARY KEY,
    tokens TEXT COLLATE "C" NOT NULL,
    words  TSVECTOR GENERATED ALWAYS AS (to_tsvector('simple', tokens)) STORED
);
CREATE INDEX incident_text_words ON incident_text USING gin (words);

-- How far an index has followed the outbox. A rebuild goes through the tables by id beside that.
CREATE TABLE search_state (
    name           TEXT COLLATE "C" PRIMARY KEY, -- text: the tables above; rest: the search server
    generation     TEXT COLLATE "C" NOT NULL,    -- what the index has to be: another one is filled anew
    seq            BIGINT NOT NULL,    -- changes up to this one are in the index
    alerts_done    BIGINT NOT NULL,    -- a rebuild has come to this id ...
    alerts_to      BIGINT NOT NULL,    -- ... of these; it is over when both are the same
    incidents_done BIGINT NOT NULL,
    incidents_to   BIGINT NOT NULL
);
