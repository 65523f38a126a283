-- Which alert has a uid. In PostgreSQL a table of its own, because a partitioned one can't say.

CREATE VIEW alert_uids AS SELECT uid, id AS alert_id FROM alerts;
