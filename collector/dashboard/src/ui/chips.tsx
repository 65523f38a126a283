/* Quick filters: each chip is one field:value word of the search line. */
import { count } from "../lib/format";
import { hasTerm, term, toggleTerm } from "../lib/query";

interface Props {
    label: string;
    field: string;
    values: readonly string[];
    counts?: Partial<Record<string, number>> | undefined;
    q: string;
    onSearch: (q: string) => void;
    nameOf?: (value: string) => string;
}

export function Chips({ label, field, values, counts, q, onSearch, nameOf }: Props) {
    return (
        <div className="chips" role="group" aria-label={label}>
            {values.map((value) => {
                const isOn = hasTerm(q, term(field, value));
                return (
                    <button
                        key={value}
                        type="button"
                        className={`chip chip-${field} ${field === "severity" ? `tint-${value}` : ""}`}
                        aria-pressed={isOn}
                        onClick={() => onSearch(toggleTerm(q, field, value))}
                    >
                        {nameOf ? nameOf(value) : value}
                        {counts && <span className="chip-count">{count(counts[value] ?? 0)}</span>}
                    </button>
                );
            })}
        </div>
    );
}
