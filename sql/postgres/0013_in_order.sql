-- The alerts of one host in their order: a page of them reads no more than a page, however many
-- there are. Roles, which stood between, are looked at in the rows.

CREATE INDEX alert_entities_order ON alert_entities (entity_id, alert_id);
DROP INDEX alert_entities_entity;
CREATE INDEX alerts_src_id ON alerts (src, id);
DROP INDEX alerts_src;
CREATE INDEX alerts_dst_id ON alerts (dst, id);
DROP INDEX alerts_dst;
