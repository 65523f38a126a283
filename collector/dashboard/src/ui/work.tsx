/* What alerts and incidents show alike: who works on them, whom they are about, and when. */
import type { ReactNode } from "react";
import type { Entity } from "../api/types";
import { useStore } from "../lib/store";
import { session } from "../api/session";
import { span } from "../lib/time";
import { EntityList, Failure, Panel, Time } from "./parts";

interface WorkProps {
    title: string;
    who: string | null;
    mayWrite: boolean;
    isBusy: boolean;
    failure: string;
    onAssign: (who: string | null) => void;
    children: ReactNode;
}

/* The steps and choices are the children; below them who does it, and what stands against it. */
export function WorkPanel(props: WorkProps) {
    const { title, who, mayWrite, isBusy, failure, onAssign, children } = props;
    const { user } = useStore(session);
    const isMine = who !== null && who === user?.username;
    return (
        <Panel title={title}>
            <div className="triage">
                {children}
                <div className="field">
                    <span>Assigned to</span>
                    <div className="assign">
                        <span className={who ? "" : "muted"}>{who || "nobody"}</span>
                        {mayWrite && user && (
                            <button
                                type="button"
                                className="button small"
                                disabled={isBusy}
                                onClick={() => onAssign(isMine ? null : user.username)}
                            >
                                {isMine ? "Give back" : "Assign to me"}
                            </button>
                        )}
                    </div>
                </div>
                {!mayWrite && (
                    <p className="muted">
                        You can look, but not change: your role is {user?.role}.
                    </p>
                )}
                {failure && <Failure message={failure} />}
            </div>
        </Panel>
    );
}

export const EntitiesPanel = ({ entities }: { entities: Entity[] }) => (
    <Panel title="Entities">
        {entities.length ? (
            <EntityList entities={entities} />
        ) : (
            <p className="muted pad">None named.</p>
        )}
    </Panel>
);

/* Rows of a list of facts. */
export const Seen = ({ first, last }: { first: string; last: string }) => (
    <>
        <dt>First seen</dt>
        <dd>
            <Time at={first} />
        </dd>
        <dt>Last seen</dt>
        <dd>
            <Time at={last} /> <span className="muted">({span(first, last)})</span>
        </dd>
    </>
);
