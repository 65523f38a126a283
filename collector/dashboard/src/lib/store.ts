/*
 * A value that lives outside React and tells its readers when it changes. The session, the live
 * connection and the alert list outlast the page that shows them, so they are stores.
 */
import { useSyncExternalStore } from "react";

export interface Store<T> {
    get(): T;
    set(next: T): void;
    patch(part: Partial<T>): void;
    subscribe(listener: () => void): () => void;
}

export function createStore<T extends object>(initial: T): Store<T> {
    let value = initial;
    const listeners = new Set<() => void>();
    const set = (next: T) => {
        value = next;
        for (const listener of [...listeners]) listener();
    };
    return {
        get: () => value,
        set,
        patch: (part) => set({ ...value, ...part }),
        subscribe: (listener) => {
            listeners.add(listener);
            return () => listeners.delete(listener);
        },
    };
}

export function useStore<T extends object>(store: Store<T>): T {
    return useSyncExternalStore(store.subscribe, store.get);
}
