/* One incident: its alerts in time, the people's words about it, and where the work stands. */
import { useEffect, useRef, useState, type FormEvent } from "react";
import * as api from "../api/client";
import { onLive } from "../api/live";
import { ApiError, messageOf } from "../api/problem";
import { may, session } from "../api/session";
import {
    INCIDENT_STATUSES,
    SEVERITIES,
    type Alert,
    type Change,
    type Comment,
    type Incident,
    type Severity,
} from "../api/types";
import { Lanes } from "../charts/lanes";
import { count, plural, sentence, words } from "../lib/format";
import { useKeys } from "../lib/keys";
import { useLoad } from "../lib/load";
import { alertHref, go } from "../lib/router";
import { useStore } from "../lib/store";
import { Absent, DetailHead } from "../ui/detail";
import {
    Ago,
    CopyButton,
    Failure,
    Loading,
    Panel,
    SeverityBadge,
    StatusBadge,
    Time,
} from "../ui/parts";
import { EntitiesPanel, Seen, WorkPanel } from "../ui/work";

const ALERTS_SHOWN = 200;

type Patch = (body: api.IncidentChange) => Promise<boolean>;

/* A change carries the ETag of what the person saw; when it is old, nothing is overwritten. */
function useIncident(id: number) {
    const loaded = useLoad(`incident ${id}`, (signal) => api.getIncident(id, signal));
    const [failure, setFailure] = useState("");
    const [isBusy, setBusy] = useState(false);
    const { value, set, reload } = loaded;

    useEffect(
        () =>
            onLive((events) => {
                if (events.some((event) => event.type === "incident" && event.data.id === id))
                    reload();
            }),
        [id, reload],
    );

    const change: Patch = async (body) => {
        if (!value) return false;
        setBusy(true);
        setFailure("");
        try {
            set(await api.patchIncident(id, value.etag, body));
            return true;
        } catch (error) {
            const isStale = error instanceof ApiError && error.status === 412;
            if (isStale) reload();
            setFailure(
                isStale
                    ? "Somebody else changed this incident meanwhile. It is up to date now: try again."
                    : messageOf(error),
            );
            return false;
        } finally {
            setBusy(false);
        }
    };
    return { ...loaded, change, failure, isBusy };
}

const GRADES = SEVERITIES.map((severity) => ({ value: severity, text: severity }));

function Work(props: { incident: Incident; change: Patch; isBusy: boolean; failure: string }) {
    const { incident, change, isBusy, failure } = props;
    return (
        <WorkPanel
            title="Work"
            of={incident}
            steps={INCIDENT_STATUSES}
            permission="incidents:write"
            choice={{
                label: "Severity",
                value: incident.severity,
                options: GRADES,
                onChoose: (value) => void change({ severity: value as Severity }),
            }}
            isBusy={isBusy}
            failure={failure}
            onChange={(body) => void change(body)}
        />
    );
}

const CHANGES: Record<string, string> = {
    status: "moved it",
    severity: "graded it",
    assigned_to: "assigned it",
};

const ChangeLine = ({ change }: { change: Change }) => (
    <li className="activity-change">
        <b>{change.actor}</b> {CHANGES[change.field] ?? `changed the ${words(change.field)}`}
        {change.before ? ` from ${change.before}` : ""} to{" "}
        {change.after || (change.field === "assigned_to" ? "nobody" : "nothing")},{" "}
        <span className="muted">
            <Ago at={change.at} />
        </span>
    </li>
);

const CommentLine = ({ comment }: { comment: Comment }) => (
    <li className="activity-comment">
        <div>
            <b>{comment.author}</b>{" "}
            <span className="muted">
                <Ago at={comment.created_at} />
                {comment.edited_at && ", edited"}
            </span>
        </div>
        <p>{comment.text}</p>
    </li>
);

/* What people wrote and changed, in the order it happened. */
function Activity({ incident, change, isBusy }: ActivityProps) {
    const { user } = useStore(session);
    const form = useRef<HTMLFormElement>(null);
    const lines = [
        ...incident.comments.map((comment) => ({
            at: comment.created_at,
            line: <CommentLine key={`comment ${comment.id}`} comment={comment} />,
        })),
        ...(incident.history ?? []).map((one, i) => ({
            at: one.at,
            line: <ChangeLine key={`change ${i}`} change={one} />,
        })),
    ].sort((a, b) => a.at.localeCompare(b.at));
    const submit = (event: FormEvent<HTMLFormElement>) => {
        event.preventDefault();
        const comment = String(new FormData(event.currentTarget).get("comment")).trim();
        if (comment) void change({ comment }).then((isDone) => isDone && form.current?.reset());
    };
    return (
        <Panel title="Comments and changes">
            {lines.length === 0 && <p className="muted pad">Nobody has worked on it yet.</p>}
            <ol className="activity">{lines.map(({ line }) => line)}</ol>
            {may(user, "incidents:write") && (
                <form ref={form} className="comment-form" onSubmit={submit}>
                    <label className="field">
                        <span>Your comment</span>
                        <textarea name="comment" rows={2} maxLength={2000} required />
                    </label>
                    <button type="submit" className="button small" disabled={isBusy}>
                        Add comment
                    </button>
                </form>
            )}
        </Panel>
    );
}

interface ActivityProps {
    incident: Incident;
    change: Patch;
    isBusy: boolean;
}

function AlertsOf({ incident }: { incident: Incident }) {
    const { value, error, reload } = useLoad(
        `alerts of ${incident.id}`,
        (signal) =>
            api.listAlerts({
                q: `incident:${incident.id}`,
                sort: "time",
                limit: ALERTS_SHOWN,
                signal,
            }),
        incident.updated_at,
    );
    const alerts: Alert[] = value?.data ?? [];
    const more = value?.next_cursor ? incident.alert_count - alerts.length : 0;
    return (
        <Panel
            title="What happened"
            aside={<span className="muted">{plural(incident.alert_count, "alert")}</span>}
        >
            {error && <Failure message={error} onRetry={reload} />}
            {!value && !error && <Loading rows={4} />}
            {alerts.length > 1 && <Lanes alerts={alerts} />}
            <ol className="story">
                {alerts.map((alert) => (
                    <li key={alert.id} className={`edge-${alert.severity}`}>
                        <Time at={alert.detected_at} />
                        <SeverityBadge severity={alert.severity} />
                        <div>
                            <a href={alertHref(alert.id)}>{alert.description}</a>
                            {alert.metadata.explain?.[0] && (
                                <p className="muted">{sentence(alert.metadata.explain[0].text)}</p>
                            )}
                        </div>
                        <StatusBadge status={alert.status} />
                    </li>
                ))}
            </ol>
            {more > 0 && <p className="muted pad">and {count(more)} more</p>}
        </Panel>
    );
}

function Facts({ incident }: { incident: Incident }) {
    const first = incident.first_seen ?? incident.created_at;
    const last = incident.last_seen ?? incident.updated_at;
    return (
        <Panel title="Facts">
            <dl className="facts">
                <Seen first={first} last={last} />
                <dt>Kind</dt>
                <dd>{words(incident.type)}</dd>
                <dt>Opened</dt>
                <dd>
                    <Time at={incident.created_at} />{" "}
                    <span className="muted">by {incident.created_by || "Wind"}</span>
                </dd>
                <dt>Changed</dt>
                <dd>
                    <Ago at={incident.updated_at} />
                </dd>
                <dt>Incident id</dt>
                <dd className="with-copy">
                    <span className="mono uid">{incident.uid}</span>
                    <CopyButton text={incident.uid} what="incident id" />
                </dd>
            </dl>
        </Panel>
    );
}

export function IncidentPage({ id }: { id: number }) {
    const { value, error, reload, change, failure, isBusy } = useIncident(id);
    useKeys({ Escape: () => go("#/incidents") });
    if (!value)
        return <Absent what="incident" back="#/incidents" error={error} onRetry={reload} />;
    const { incident } = value;
    return (
        <article className="page detail">
            <DetailHead
                of={incident}
                list="Incidents"
                back="#/incidents"
                title={incident.title}
                more={incident.tags.map((tag) => (
                    <span key={tag} className="tag">
                        {tag}
                    </span>
                ))}
            >
                {incident.description && incident.description !== incident.title && (
                    <p className="muted">{incident.description}</p>
                )}
            </DetailHead>
            <div className="detail-main">
                <AlertsOf incident={incident} />
                <Activity incident={incident} change={change} isBusy={isBusy} />
            </div>
            <aside className="detail-side" aria-label="Work and facts">
                <Work incident={incident} change={change} isBusy={isBusy} failure={failure} />
                <EntitiesPanel entities={incident.related_entities} />
                <Facts incident={incident} />
            </aside>
        </article>
    );
}
