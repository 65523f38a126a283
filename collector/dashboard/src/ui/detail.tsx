/* The frame of a page about one thing: its head, and what stands there while it is not there. */
import type { ReactNode } from "react";
import type { AlertStatus, IncidentStatus, Severity } from "../api/types";
import { BackIcon } from "./icons";
import { Empty, Failure, Loading, SeverityBadge, StatusBadge } from "./parts";

interface HeadProps {
    of: { id: number; severity: Severity; status: AlertStatus | IncidentStatus };
    list: string; /* "Alerts", which lie behind */
    back: string;
    title: string;
    more: ReactNode; /* at the end of the first line */
    children: ReactNode; /* below the title */
}

export const DetailHead = ({ of, list, back, title, more, children }: HeadProps) => (
    <header className={`detail-head edge-${of.severity}`}>
        <div className="detail-line">
            <a className="back" href={back}>
                <BackIcon /> {list}
            </a>
            <span className="muted">#{of.id}</span>
            <SeverityBadge severity={of.severity} />
            <StatusBadge status={of.status} />
            {more}
        </div>
        <h1>{title}</h1>
        {children}
    </header>
);

interface AbsentProps {
    what: string; /* "alert" */
    back: string;
    error: string;
    onRetry: () => void;
}

/* Still being read, or, with an error, not to be had. */
export const Absent = ({ what, back, error, onRetry }: AbsentProps) => (
    <div className="page">
        {error ? (
            <>
                <Failure message={error} onRetry={onRetry} />
                <Empty title={`This ${what} cannot be shown`}>
                    <a href={back}>Back to the {what}s</a>
                </Empty>
            </>
        ) : (
            <Loading />
        )}
    </div>
);
