/* Small parts that every page uses. Text from alerts is always a React text node, never HTML. */
import { useEffect, useRef, useState, type ReactNode } from "react";
import type { AlertStatus, Entity, IncidentStatus, Severity } from "../api/types";
import { entityTerm } from "../lib/query";
import { searchHref } from "../lib/router";
import { words } from "../lib/format";
import { ago, local, useNow, utc } from "../lib/time";
import { CheckIcon, CopyIcon, WarnIcon } from "./icons";

export const SeverityBadge = ({ severity }: { severity: Severity }) => (
    <span className={`severity severity-${severity}`}>
        <span className="severity-mark" aria-hidden="true" />
        {severity}
    </span>
);

/* How far the work is, as a filling circle: nothing, a third, two thirds, done. */
const PROGRESS: Record<AlertStatus | IncidentStatus, number> = {
    new: 0,
    open: 0,
    acknowledged: 1,
    investigating: 2,
    contained: 3,
    closed: 4,
    resolved: 4,
};
const CIRCLE = 2 * Math.PI * 2.25;

export const StatusBadge = ({ status }: { status: AlertStatus | IncidentStatus }) => {
    const progress = PROGRESS[status] ?? 0;
    return (
        <span className={`status status-${status}`}>
            <svg width="13" height="13" viewBox="0 0 14 14" aria-hidden="true">
                <circle className="status-ring" cx="7" cy="7" r="6" />
                {progress === 4 ? (
                    <path className="status-done" d="m4.3 7.2 1.9 1.9 3.6-4" />
                ) : (
                    <circle
                        className="status-pie"
                        cx="7"
                        cy="7"
                        r="2.25"
                        transform="rotate(-90 7 7)"
                        strokeDasharray={`${(CIRCLE * progress) / 4} ${CIRCLE}`}
                    />
                )}
            </svg>
            {status}
        </span>
    );
};

/* Local time to read, UTC in the tooltip. */
export const Time = ({ at }: { at: string }) => (
    <time dateTime={at} title={utc(at)}>
        {local(at)}
    </time>
);

export function Ago({ at }: { at: string }) {
    const now = useNow();
    return (
        <time dateTime={at} title={utc(at)}>
            {ago(at, now)}
        </time>
    );
}

async function copyText(text: string): Promise<void> {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea"); /* plain HTTP has no clipboard object */
    area.value = text;
    area.className = "offscreen";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
}

export function CopyButton({ text, what }: { text: string; what: string }) {
    const [isDone, setDone] = useState(false);
    const timer = useRef(0);
    useEffect(() => () => clearTimeout(timer.current), []);
    const copy = () => {
        void copyText(text).then(() => {
            setDone(true);
            clearTimeout(timer.current);
            timer.current = window.setTimeout(() => setDone(false), 1500);
        });
    };
    return (
        <button type="button" className="icon-button" onClick={copy} title={`Copy ${what}`}>
            {isDone ? <CheckIcon /> : <CopyIcon />}
            <span className="offscreen" aria-live="polite">
                {isDone ? "Copied" : `Copy ${what}`}
            </span>
        </button>
    );
}

export const EntityLink = ({ entity }: { entity: Entity }) => (
    <a className="entity" href={searchHref(entityTerm(entity))} title={`Alerts of ${entity.value}`}>
        {entity.value}
    </a>
);

export const EntityList = ({ entities }: { entities: Entity[] }) => (
    <ul className="entities">
        {entities.map((entity) => (
            <li key={`${entity.kind} ${entity.value} ${entity.role}`}>
                <span className={`entity-role role-${entity.role ?? "related"}`}>
                    {entity.role ?? "related"}
                </span>
                <EntityLink entity={entity} />
                {entity.kind !== "host" && <span className="muted">{words(entity.kind)}</span>}
                <CopyButton text={entity.value} what={entity.value} />
            </li>
        ))}
    </ul>
);

export function Technique({ id, name, tactic }: { id: string; name: string; tactic?: string }) {
    const path = id.replace(".", "/");
    return (
        <a
            className="technique"
            href={`https://attack.mitre.org/techniques/${path}/`}
            target="_blank"
            rel="noopener noreferrer"
            title={`${tactic ? `${tactic}: ` : ""}${name} (opens attack.mitre.org)`}
        >
            <span className="mono">{id}</span> {name}
        </a>
    );
}

/* Nothing to show: say why, and what to do about it. */
export const Empty = ({ title, children }: { title: string; children?: ReactNode }) => (
    <div className="empty">
        <p className="empty-title">{title}</p>
        {children && <div className="empty-hint">{children}</div>}
    </div>
);

export const Failure = ({ message, onRetry }: { message: string; onRetry?: () => void }) => (
    <div className="failure" role="alert">
        <WarnIcon />
        <span>{message}</span>
        {onRetry && (
            <button type="button" className="button small" onClick={onRetry}>
                Try again
            </button>
        )}
    </div>
);

export const Loading = ({ rows = 6 }: { rows?: number }) => (
    <div className="skeleton" role="status" aria-label="Loading">
        {Array.from({ length: rows }, (_, i) => (
            <div key={i} className="skeleton-row" />
        ))}
    </div>
);

export const Panel = (props: { title: string; aside?: ReactNode; children: ReactNode }) => (
    <section className="panel">
        <header className="panel-head">
            <h2>{props.title}</h2>
            {props.aside}
        </header>
        {props.children}
    </section>
);
