/* The search line: '/' goes there, Enter searches, Escape leaves; the grammar is one click away. */
import { useEffect, useRef, useState } from "react";
import { useKeys } from "../lib/keys";
import { CloseIcon, SearchIcon } from "./icons";

interface Props {
    q: string;
    label: string;
    placeholder: string;
    onSearch: (q: string) => void;
}

export function SearchBox({ q, label, placeholder, onSearch }: Props) {
    const [text, setText] = useState(q);
    const input = useRef<HTMLInputElement>(null);
    useEffect(() => setText(q), [q]);
    useKeys({
        "/": (event) => {
            event.preventDefault();
            input.current?.select();
        },
    });
    return (
        <form
            className="search"
            role="search"
            onSubmit={(event) => {
                event.preventDefault();
                onSearch(text.trim());
            }}
        >
            <SearchIcon />
            <input
                ref={input}
                type="text"
                value={text}
                aria-label={label}
                placeholder={placeholder}
                spellCheck={false}
                autoComplete="off"
                autoCapitalize="none"
                onChange={(event) => setText(event.target.value)}
                onKeyDown={(event) => {
                    if (event.key !== "Escape") return;
                    setText(q);
                    input.current?.blur();
                }}
            />
            {(text || q) && (
                <button
                    type="button"
                    className="icon-button"
                    aria-label="Clear the search"
                    title="Clear"
                    onClick={() => {
                        setText("");
                        onSearch("");
                    }}
                >
                    <CloseIcon />
                </button>
            )}
            <kbd title="Press / to search">/</kbd>
        </form>
    );
}
