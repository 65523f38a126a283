-- The alerts of one host in their order: a page of them reads no more than a page, however many
-- there are. (Those of an address are in their order already: SQLite's indexes end with the id.)

CREATE INDEX alert_entities_order ON alert_entities (entity_id, alert_id, role);
DROP INDEX alert_entities_entity;
