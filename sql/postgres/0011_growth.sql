-- A plan is kept, and one that was made for a table with a few rows may read all of them: until the
-- server's own ANALYZE comes, a minute later, such a table can have grown by many thousands. So a
-- table's statistics are taken as it grows, each time that it has four times as many rows; of few
-- rows, as writers wait meanwhile.

-- Of the tables that grow with a sequence, when it goes from FIRST to LAST. In an alert's partition
-- numbers begin anew.
CREATE FUNCTION wind_note_growth(sequence TEXT, first BIGINT, last BIGINT) RETURNS void
LANGUAGE plpgsql SET default_statistics_target = 10 AS $$
DECLARE
    width CONSTANT BIGINT := 1000000;
    part BIGINT := last / width;
    step BIGINT := 256;
    before BIGINT := first - 1;
    here BIGINT := last;
    names TEXT[];
    name TEXT;
BEGIN
    names := CASE sequence
        WHEN 'alerts_id_seq' THEN ARRAY['alerts_' || part, 'alert_entities_' || part, 'alert_uids']
        WHEN 'incidents_id_seq' THEN ARRAY['incidents', 'incident_entities']
        WHEN 'entities_id_seq' THEN ARRAY['entities']
        WHEN 'outbox_seq_seq' THEN ARRAY['outbox', 'alert_text', 'incident_text']
    END;
    IF sequence = 'alerts_id_seq' THEN
        before := greatest(before - part * width, 0);
        here := here - part * width;
    END IF;
    WHILE step < width LOOP
        IF before < step AND here >= step THEN
            FOREACH name IN ARRAY names LOOP
                EXECUTE format('ANALYZE %I', name);
            END LOOP;
            RETURN;
        END IF;
        step := step * 4;
    END LOOP;
END $$;

-- As in 0001, and with that.
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
    END IF;
    PERFORM wind_note_growth(sequence, last - n + 1, last);
    RETURN last - n + 1;
END $$;

-- The first alerts of an incident, however many it has, are read in their order.
DROP INDEX alerts_incident;
CREATE INDEX alerts_incident ON alerts (incident_id, id);
