-- The text index, filled behind the commits by collector/search.h: lexemes and places as
-- collector/search_token.h writes them. to_tsvector would cut them in its own way.

CREATE TABLE alert_text (
    rowid  BIGINT PRIMARY KEY,
    tokens TSVECTOR NOT NULL
);
CREATE INDEX alert_text_tokens ON alert_text USING gin (tokens);

CREATE TABLE incident_text (
    rowid  BIGINT PRIMARY KEY,
    tokens TSVECTOR NOT NULL
);
CREATE INDEX incident_text_tokens ON incident_text USING gin (tokens);

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
