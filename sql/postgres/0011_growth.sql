-- A plan is kept, and one that was made for a table with a few rows may read all of them: until the
-- server's own ANALYZE comes, a minute later, such a table can have grown by many thousands. So
-- statistics are taken whenever a table has become four times as large; of few rows, as writers
-- wait meanwhile, and not while somebody else has the table's lock.

CREATE FUNCTION wind_note_growth(names TEXT[]) RETURNS void
LANGUAGE plpgsql SET default_statistics_target = 10 AS $$
DECLARE
    name TEXT;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class c WHERE c.oid = ANY(names::regclass[])
            AND pg_relation_size(c.oid) / 8192 >= 4 * greatest(c.relpages, 2)
    LOOP
        EXECUTE format('ANALYZE (SKIP_LOCKED) %I', name);
    END LOOP;
END $$;

-- As in 0001, and with that for the tables that grow with a sequence.
CREATE OR REPLACE FUNCTION wind_reserve(sequence TEXT, n BIGINT) RETURNS BIGINT
LANGUAGE plpgsql AS $$
DECLARE
    width CONSTANT BIGINT := 1000000;
    last BIGINT := setval(sequence::regclass, nextval(sequence::regclass) + n - 1);
    part BIGINT;
BEGIN
    IF sequence = 'alerts_id_seq' THEN
        FOR part IN (last - n + 1) / width .. last / width LOOP
            IF to_regclass('alerts_' || part) IS NULL THEN
                PERFORM wind_make_partition(part * width);
            END IF;
        END LOOP;
        part := last / width;
        PERFORM wind_note_growth(
            ARRAY['alerts_' || part, 'alert_entities_' || part, 'alert_uids', 'alert_text']);
    ELSIF sequence = 'incidents_id_seq' THEN
        PERFORM wind_note_growth(ARRAY['incidents', 'incident_entities', 'incident_text']);
    ELSIF sequence = 'entities_id_seq' THEN
        PERFORM wind_note_growth(ARRAY['entities']);
    ELSIF sequence = 'outbox_seq_seq' THEN
        PERFORM wind_note_growth(ARRAY['outbox', 'history']);
    END IF;
    RETURN last - n + 1;
END $$;

-- The first alerts of an incident, however many it has, are read in their order; so is a history.
-- What was there goes at the end, so that nobody who reads waits for long.
CREATE INDEX alerts_incident_id ON alerts (incident_id, id);
CREATE INDEX history_object_id ON history (topic, object_id, id);
DROP INDEX alerts_incident;
DROP INDEX history_object;
