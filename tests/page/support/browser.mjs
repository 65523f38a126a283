/* Debian's Chromium, and a page that remembers everything that went wrong on it. */
import { chromium } from "playwright-core";

export const launch = () =>
    chromium.launch({
        executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
        args: [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    });

/*
 * A new visitor. `faults` collects errors on the console, exceptions, violations of the
 * Content-Security-Policy, and requests to any other host; `allow` are those a test means to see.
 */
export async function visit(browser, url, { allow = [], ...options } = {}) {
    const context = await browser.newContext({
        viewport: { width: 1280, height: 860 },
        ...options,
    });
    const page = await context.newPage();
    const faults = [];
    const note = (text) => allow.some((pattern) => pattern.test(text)) || faults.push(text);

    page.setDefaultTimeout(10_000);
    page.on("console", (message) => message.type() === "error" && note(message.text()));
    page.on("pageerror", (error) => note(`exception: ${error.message}`));
    page.on("dialog", (dialog) => {
        note(`dialog: ${dialog.message()}`);
        void dialog.dismiss();
    });
    page.on("response", (answer) => {
        if (answer.status() >= 500)
            note(`${answer.status()}: ${answer.request().method()} ${answer.url()}`);
    });
    page.on("request", (request) => {
        if (new URL(request.url()).host !== new URL(url).host) note(`outside: ${request.url()}`);
    });
    await page.exposeFunction("windTestViolation", (text) => note(`policy: ${text}`));
    await page.addInitScript(() =>
        document.addEventListener("securitypolicyviolation", (event) =>
            window.windTestViolation(
                `${event.violatedDirective} ${event.blockedURI} ${event.sample}`,
            ),
        ),
    );
    await page.goto(url);
    return { page, context, faults };
}

export async function signIn(page, { username, password }) {
    await page.getByLabel("User name").fill(username);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("Live", { exact: true }).waitFor();
}
