import { useState, type FormEvent } from "react";
import { messageOf } from "../api/problem";
import { session, signIn } from "../api/session";
import { useStore } from "../lib/store";
import { WindMark } from "../ui/icons";

export function LoginPage() {
    const { note } = useStore(session);
    const [error, setError] = useState("");
    const [isBusy, setBusy] = useState(false);

    const submit = (event: FormEvent<HTMLFormElement>) => {
        event.preventDefault();
        const form = event.currentTarget;
        const data = new FormData(form);
        setBusy(true);
        setError("");
        signIn(String(data.get("username")).trim(), String(data.get("password"))).catch(
            (failure: unknown) => {
                setError(messageOf(failure));
                setBusy(false);
                const field = form.elements.namedItem("password");
                if (field instanceof HTMLInputElement) field.select();
            },
        );
    };

    return (
        <main className="login">
            <form className="login-card" onSubmit={submit}>
                <h1 className="brand">
                    <WindMark /> Wind
                </h1>
                <p className="muted">Sign in to see what matters on your network.</p>
                {note && !error && (
                    <p className="note" role="status">
                        {note}
                    </p>
                )}
                {error && (
                    <p className="note is-error" role="alert">
                        {error}
                    </p>
                )}
                <label className="field">
                    <span>User name</span>
                    <input
                        name="username"
                        autoComplete="username"
                        autoCapitalize="none"
                        spellCheck={false}
                        required
                        autoFocus
                    />
                </label>
                <label className="field">
                    <span>Password</span>
                    <input
                        name="password"
                        type="password"
                        autoComplete="current-password"
                        required
                    />
                </label>
                <button className="button primary" type="submit" disabled={isBusy}>
                    {isBusy ? "Signing in…" : "Sign in"}
                </button>
                <p className="login-hint muted">
                    First start? The collector printed a password for <b>admin</b> when it started.
                </p>
            </form>
        </main>
    );
}
