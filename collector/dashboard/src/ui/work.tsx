/* What alerts and incidents show alike: who works on them, whom they are about, and when. */
import type { Entity } from "../api/types";
import { useStore } from "../lib/store";
import { may, session } from "../api/session";
import { span } from "../lib/time";
import { EntityList, Failure, Panel, Time } from "./parts";
import { Steps } from "./steps";

interface Choice {
    label: string;
    value: string;
    options: { value: string; text: string }[];
    onChoose: (value: string) => void;
}

interface WorkProps<S extends string> {
    title: string;
    of: { status: S; assigned_to: string | null };
    steps: readonly S[];
    permission: string; /* to change it */
    choice: Choice;
    isBusy: boolean;
    failure: string;
    onChange: (change: { status: S } | { assigned_to: string | null }) => void;
}

/* How far the work is, a choice of its own kind, who does it, and what stands against a change. */
export function WorkPanel<S extends string>(props: WorkProps<S>) {
    const { title, of, steps, permission, choice, isBusy, failure, onChange } = props;
    const { user } = useStore(session);
    const who = of.assigned_to;
    const isMine = who !== null && who === user?.username;
    const mayWrite = may(user, permission);
    return (
        <Panel title={title}>
            <div className="triage">
                <Steps
                    label="Status"
                    steps={steps}
                    at={of.status}
                    isDisabled={!mayWrite || isBusy}
                    onStep={(status) => onChange({ status })}
                />
                <label className="field">
                    <span>{choice.label}</span>
                    <select
                        value={choice.value}
                        disabled={!mayWrite || isBusy}
                        onChange={(event) => choice.onChoose(event.target.value)}
                    >
                        {choice.options.map(({ value, text }) => (
                            <option key={value} value={value}>
                                {text}
                            </option>
                        ))}
                    </select>
                </label>
                <div className="field">
                    <span>Assigned to</span>
                    <div className="assign">
                        <span className={who ? "" : "muted"}>{who || "nobody"}</span>
                        {mayWrite && user && (
                            <button
                                type="button"
                                className="button small"
                                disabled={isBusy}
                                onClick={() =>
                                    onChange({ assigned_to: isMine ? null : user.username })
                                }
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
