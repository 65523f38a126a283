/* The collector's JSON as the page reads it. Fields the page never touches are left out. */

export const SEVERITIES = ["critical", "high", "medium", "low"] as const;
export type Severity = (typeof SEVERITIES)[number];

export const ALERT_STATUSES = ["new", "acknowledged", "investigating", "closed"] as const;
export type AlertStatus = (typeof ALERT_STATUSES)[number];

export const VERDICTS = [
    "true_positive",
    "false_positive",
    "benign_true_positive",
    "duplicate",
    "undetermined",
] as const;
export type Verdict = (typeof VERDICTS)[number];

export const INCIDENT_STATUSES = ["open", "investigating", "contained", "resolved"] as const;
export type IncidentStatus = (typeof INCIDENT_STATUSES)[number];

export type Role = "admin" | "analyst" | "viewer";

export interface Entity {
    kind: string;
    value: string;
    role?: string | null;
}

/* One reason of an alert; normal and normal_sd are null when this host has no history (normal_n 0). */
export interface Reason {
    name: string;
    unit: string;
    text: string;
    value: number | null;
    normal: number | null;
    normal_sd: number | null;
    normal_n: number;
    contribution: number;
}

export interface AlertMetadata {
    score?: number | null;
    p_value?: number | null;
    model?: string | null;
    schema?: string | null;
    explain?: Reason[];
    technique?: { id: string; name: string; tactic: string } | null;
    community_ids?: string[];
    count?: number;
    first_seen?: string;
    last_seen?: string;
    flow?: {
        src_ip?: string;
        src_port?: number;
        dest_ip?: string;
        dest_port?: number;
        proto?: string;
        app_proto?: string;
        flow_id?: number;
        community_id?: string;
    };
    signature_id?: number;
    analysis_level?: string | null;
    coverage?: number | null;
    pcap_filename?: string | null;
}

export interface Alert {
    id: number;
    uid: string;
    rev: number;
    detected_at: string;
    severity: Severity;
    type: string;
    source: string;
    description: string;
    status: AlertStatus;
    verdict: Verdict | null;
    assigned_to: string | null /* a user name */;
    metadata: AlertMetadata;
    related_entities: Entity[];
    related_alerts: number[];
    incident_id: number | null;
    created_at: string;
    updated_at: string;
}

export interface Comment {
    id: number;
    author: string | null;
    text: string;
    created_at: string;
    edited_at: string | null;
}

/* What one person changed of one field. */
export interface Change {
    at: string;
    actor: string;
    field: string;
    before: string | null;
    after: string | null;
}

export interface Incident {
    id: number;
    uid: string;
    title: string;
    description: string;
    type: string;
    status: IncidentStatus;
    severity: Severity;
    created_at: string;
    updated_at: string;
    created_by: string | null;
    assigned_to: string | null /* a user name */;
    related_alerts: number[];
    related_entities: Entity[];
    comments: Comment[];
    tags: string[];
    first_seen: string | null;
    last_seen: string | null;
    alert_count: number;
    history?: Change[] /* not in lists */;
}

export interface User {
    id: number;
    username: string;
    role: Role;
    permissions: string[];
}

export interface Bucket {
    t: string;
    low: number;
    medium: number;
    high: number;
    critical: number;
}

export interface TopEntity {
    kind: string;
    value: string;
    role?: string | null;
    alerts: number;
    max_severity: Severity;
}

export interface Stats {
    extent: { first: string | null; last: string | null };
    alerts: {
        total: number;
        by_severity: Partial<Record<Severity, number>>;
        by_type: Record<string, number>;
        by_status: Partial<Record<AlertStatus, number>>;
    };
    incidents: { total: number; by_status: Partial<Record<IncidentStatus, number>> };
    timeline: { bucket_s: number; buckets: Bucket[] };
    top_entities: TopEntity[];
}

export interface Sensor {
    id?: number;
    name: string;
    version?: string | null;
    state?: "online" | "late" | "offline";
    last_seen?: string | null;
}

export interface Page<T> {
    data: T[];
    next_cursor: string | null;
}

/* RFC 9457, as the collector sends it. */
export interface Problem {
    title?: string;
    status?: number;
    code?: string;
    detail?: string;
    errors?: { loc: (string | number)[]; msg: string }[];
}
