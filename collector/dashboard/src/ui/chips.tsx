/* Quick filters: each chip is one value behind a key of the search line. */
import { count } from "../lib/format";
import { toggleValue, valuesOf } from "../lib/query";

export interface ChipSet {
    label: string;
    field: string;
    values: readonly string[];
    counts?: Partial<Record<string, number>> | undefined;
    nameOf?: (value: string) => string;
}

interface Props extends ChipSet {
    q: string;
    onSearch: (q: string) => void;
}

export function Chips({ label, field, values, counts, q, onSearch, nameOf }: Props) {
    const picked = valuesOf(q, field);
    return (
        <div className="chips" role="group" aria-label={label}>
            {values.map((value) => {
                const isOn = picked.includes(value);
                return (
                    <button
                        key={value}
                        type="button"
                        className={`chip chip-${field} ${field === "severity" ? `tint-${value}` : ""}`}
                        aria-pressed={isOn}
                        onClick={() => onSearch(toggleValue(q, field, value))}
                    >
                        {nameOf ? nameOf(value) : value}
                        {counts && <span className="chip-count">{count(counts[value] ?? 0)}</span>}
                    </button>
                );
            })}
        </div>
    );
}
