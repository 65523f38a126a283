-- Which alert has a uid. A row for each alert, written in the same transaction: what a sensor sends
-- twice comes in once. In SQLite the alerts themselves know.

CREATE TABLE alert_uids (
    uid      BYTEA  PRIMARY KEY,
    alert_id BIGINT NOT NULL
);
CREATE INDEX alert_uids_alert ON alert_uids USING brin (alert_id); -- for retention
