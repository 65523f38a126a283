-- The text index, filled behind the commits by collector/search.h: words as
-- collector/search_token.h writes them, so that FTS5 has nothing left to decide.

CREATE VIRTUAL TABLE alert_text USING fts5 (
    tokens, tokenize = "ascii tokenchars '_'", columnsize = 0);
CREATE VIRTUAL TABLE incident_text USING fts5 (
    tokens, tokenize = "ascii tokenchars '_'", columnsize = 0);

-- How far an index has followed the outbox. A rebuild goes through the tables by id beside that.
CREATE TABLE search_state (
    name           TEXT    PRIMARY KEY, -- text: the tables above; rest: the search server
    generation     TEXT    NOT NULL,    -- what the index has to be: another one is filled anew
    seq            INTEGER NOT NULL,    -- changes up to this one are in the index
    alerts_done    INTEGER NOT NULL,    -- a rebuild has come to this id ...
    alerts_to      INTEGER NOT NULL,    -- ... of these; it is over when both are the same
    incidents_done INTEGER NOT NULL,
    incidents_to   INTEGER NOT NULL
) STRICT;
