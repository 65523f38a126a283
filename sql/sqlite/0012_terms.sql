-- The words of the text index by name: collector/filter_words.h. FTS5 keeps no copy of them for it.

CREATE VIRTUAL TABLE alert_text_terms USING fts5vocab (alert_text, instance);
CREATE VIRTUAL TABLE incident_text_terms USING fts5vocab (incident_text, instance);
