/* What stands above a list: the search line, and chips for the values that are asked for most. */
import type { ReactNode } from "react";
import { Chips, type ChipSet } from "./chips";
import { SearchBox } from "./search";

interface Props {
    what: string; /* "alerts" */
    placeholder: string;
    q: string;
    onSearch: (q: string) => void;
    chips: ChipSet[];
    total?: ReactNode; /* beside the search line */
}

export function Filters({ what, placeholder, q, onSearch, chips, total }: Props) {
    const box = (
        <SearchBox q={q} label={`Search ${what}`} placeholder={placeholder} onSearch={onSearch} />
    );
    return (
        <div className="filters">
            {total ? (
                <div className="search-line">
                    {box}
                    <span className="total muted">{total}</span>
                </div>
            ) : (
                box
            )}
            <div className="filter-chips">
                {chips.map((set) => (
                    <Chips key={set.field} {...set} q={q} onSearch={onSearch} />
                ))}
            </div>
        </div>
    );
}

export const ClearSearch = ({ onSearch }: { onSearch: (q: string) => void }) => (
    <button type="button" className="button small" onClick={() => onSearch("")}>
        Clear the search
    </button>
);
