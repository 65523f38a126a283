-- The one sensor that a key speaks for; NULL: any.

ALTER TABLE api_keys ADD COLUMN sensor TEXT COLLATE "C";
