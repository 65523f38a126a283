/* Reading something for a page: the value, or why it is not there; a newer request wins. */
import { useCallback, useEffect, useRef, useState } from "react";
import { messageOf } from "../api/problem";

export interface Loaded<T> {
    value: T | null;
    error: string;
    reload(): void;
    set(value: T): void;
}

/*
 * `key` names what is read: when it changes, the old value goes and the new one is fetched.
 * `version`, when it changes, only fetches again.
 */
export function useLoad<T>(
    key: string,
    read: (signal: AbortSignal) => Promise<T>,
    version = "",
): Loaded<T> {
    const [state, setState] = useState<{ key: string; value: T | null; error: string }>({
        key,
        value: null,
        error: "",
    });
    const [turn, setTurn] = useState(0);
    const reader = useRef(read);
    reader.current = read;

    useEffect(() => {
        const abort = new AbortController();
        reader.current(abort.signal).then(
            (value) => abort.signal.aborted || setState({ key, value, error: "" }),
            (error: unknown) => {
                if (abort.signal.aborted) return;
                setState((old) => ({
                    key,
                    value: old.key === key ? old.value : null,
                    error: messageOf(error),
                }));
            },
        );
        return () => abort.abort();
    }, [key, turn, version]);

    const reload = useCallback(() => setTurn((n) => n + 1), []);
    const set = useCallback((value: T) => setState({ key, value, error: "" }), [key]);
    const isCurrent = state.key === key;
    return {
        value: isCurrent ? state.value : null,
        error: isCurrent ? state.error : "",
        reload,
        set,
    };
}
