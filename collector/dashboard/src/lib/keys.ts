/* Single-key commands of a page. They never fire while somebody types. */
import { useEffect, useRef } from "react";

export type Keymap = Record<string, (event: KeyboardEvent) => void>;

function isTyping(target: EventTarget | null): boolean {
    if (!(target instanceof HTMLElement)) return false;
    return target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
}

export function useKeys(keymap: Keymap): void {
    const latest = useRef(keymap);
    latest.current = keymap;
    useEffect(() => {
        const onKey = (event: KeyboardEvent) => {
            if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
            if (isTyping(event.target)) return;
            const command = latest.current[event.key];
            if (!command) return;
            command(event);
        };
        document.addEventListener("keydown", onKey);
        return () => document.removeEventListener("keydown", onKey);
    }, []);
}
