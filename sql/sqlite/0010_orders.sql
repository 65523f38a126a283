-- An index for each order of a list, and for what few alerts have: tests/e2e/test_plans.py.

CREATE INDEX alerts_severity ON alerts (severity, id);
CREATE INDEX alerts_updated ON alerts (updated_at, id);
CREATE INDEX alerts_score ON alerts (coalesce(score, -1), id);
CREATE INDEX alerts_created ON alerts (created_at, id);
CREATE INDEX alerts_status ON alerts (status, id);
CREATE INDEX alerts_verdict ON alerts (verdict, id) WHERE verdict IS NOT NULL;
CREATE INDEX alerts_assigned ON alerts (assigned_to, id) WHERE assigned_to IS NOT NULL;
CREATE INDEX incidents_severity ON incidents (severity, id);
CREATE INDEX incidents_created ON incidents (created_at, id);
CREATE INDEX incidents_updated ON incidents (updated_at, id);
CREATE INDEX incidents_alerts ON incidents (alert_count, id);
