-- An alert's entities as the API shows them, so that it is one row to read. alert_entities
-- stays what search and correlation ask. (No release had alerts in PostgreSQL before this.)

ALTER TABLE alerts ADD COLUMN entities TEXT COLLATE "C" NOT NULL DEFAULT '[]'; -- JSON [{kind, value, role}]
