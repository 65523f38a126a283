-- An alert's entities as the API shows them, so that it is one row to read. alert_entities
-- stays what search and correlation ask.

ALTER TABLE alerts ADD COLUMN entities TEXT NOT NULL DEFAULT '[]'; -- JSON [{kind, value, role}]

UPDATE alerts SET entities = (
    SELECT json_group_array(json_object('kind', kind, 'value', value, 'role', role))
    FROM (SELECT en.kind AS kind, en.value AS value, ae.role AS role FROM alert_entities ae
          JOIN entities en ON en.id = ae.entity_id WHERE ae.alert_id = alerts.id ORDER BY ae.pos));
