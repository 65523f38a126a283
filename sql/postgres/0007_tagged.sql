-- alerts.kept has a bit 8 from here on: people set tags, so that whoever shows the others need not
-- ask for them.

UPDATE alerts SET kept = kept | 8
WHERE id IN (SELECT object_id FROM tags WHERE topic = 'alerts');
