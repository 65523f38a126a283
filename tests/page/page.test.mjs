/* The page as people use it: a real collector, a real browser, alerts posted as a sensor does. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { launch, signIn, visit } from "./support/browser.mjs";
import { Collector, makeAlert, REASONS, until } from "./support/collector.mjs";

const TIMEOUT = { timeout: 90_000 };
const axeSource = await readFile(
    createRequire(import.meta.url).resolve("axe-core/axe.min.js"),
    "utf8",
);

const collector = new Collector(process.env.WIND_BIN);
let browser;
let admin;
let viewer;

before(async () => {
    await collector.begin();
    browser = await launch();
    admin = { username: "admin", password: collector.password };
    viewer = await collector.addUser("vera", "viewer");
}, TIMEOUT);

after(async () => {
    await browser?.close();
    await collector.end();
}, TIMEOUT);

/* Open the page, do the test's work, and insist that nothing went wrong on the way. */
async function withPage(work, { user = admin, ...options } = {}) {
    const visitor = await visit(browser, `${collector.url}/`, options);
    try {
        if (user) await signIn(visitor.page, user);
        await work(visitor.page, visitor.context);
        assert.deepEqual(visitor.faults, []);
    } catch (error) {
        console.error(
            `the collector said last:\n${collector.log.split("\n").slice(-12).join("\n")}`,
        );
        throw error;
    } finally {
        await visitor.context.close();
    }
}

const row = (page, text) => page.locator("tr.row", { hasText: text });

async function openAlert(page, text) {
    await row(page, text).getByRole("link").click();
    await page.getByRole("heading", { level: 1, name: text }).waitFor();
}

async function search(page, q) {
    const box = page.getByRole("textbox", { name: "Search alerts" });
    await box.fill(q);
    await box.press("Enter");
}

test("an empty collector says what to do", TIMEOUT, () =>
    withPage(async (page) => {
        await page.getByText("No sensor has reported yet").waitFor();
        await page.getByText("wind-collector --create-key").waitFor();
    }),
);

test("a wrong password gets a sentence, and no page", TIMEOUT, () =>
    withPage(
        async (page) => {
            await page.getByLabel("User name").fill("admin");
            await page.getByLabel("Password").fill("not the password");
            await page.getByRole("button", { name: "Sign in" }).click();
            await page.getByRole("alert").getByText("Wrong user name or password.").waitFor();
            assert.equal(await page.getByRole("navigation").count(), 0);
        },
        { user: null, allow: [/status of 401/] },
    ),
);

test("an alert arrives without a reload, and is marked", TIMEOUT, () =>
    withPage(async (page) => {
        await page.evaluate(() => (window.windTestSamePage = true));
        const alert = makeAlert({ src: "10.9.1.1" });
        await collector.ingest(alert);
        const arrived = row(page, "10.9.1.1 tried 1000 ports");
        await arrived.waitFor();
        await arrived.getByText("just in").waitFor();
        await arrived.getByText("×1,000").waitFor();
        await page
            .locator("[aria-live]", { hasText: "New high alert: 10.9.1.1" })
            .waitFor({ state: "attached" });
        await page.getByRole("img", { name: /Alerts over time: .*1 high/ }).waitFor();

        await collector.ingest({ ...alert, wind: { ...alert.wind, rev: 2, count: 2345 } });
        await arrived.getByText("×2,345").waitFor();
        assert.equal(await arrived.count(), 1, "a new revision is the same row");
        assert.equal(await page.evaluate(() => window.windTestSamePage), true);
    }),
);

test("an alert says why, as a picture and in words", TIMEOUT, () =>
    withPage(async (page, context) => {
        await collector.ingest(makeAlert({ src: "10.9.1.2" }));
        await openAlert(page, "10.9.1.2 tried 1000 ports");
        const reasons = page.locator(".why-row");
        assert.equal(await reasons.count(), REASONS.length);
        for (const [i, reason] of REASONS.entries()) {
            const text = await reasons.nth(i).innerText();
            assert.ok(text.includes(reason.text), text);
        }

        const widths = await page
            .locator(".why-bar-fill")
            .evaluateAll((bars) => bars.map((bar) => bar.offsetWidth));
        assert.ok(
            Math.abs(widths[1] / widths[0] - 0.5) < 0.03,
            `0.3 is half as long as 0.6: ${widths}`,
        );
        assert.ok(widths[2] < widths[1] && widths[2] > 0);

        const first = reasons.first();
        await first
            .getByRole("img", { name: /normal for this host: 2.1 ± 0.4, from 37 observations/ })
            .waitFor();
        const at = (selector) =>
            first.locator(selector).evaluate((mark) => mark.getBoundingClientRect().x);
        assert.ok(
            (await at(".range-mark")) > (await at(".range-mean")) + 100,
            "1000 is far right of 2.1",
        );
        await reasons.nth(2).getByText("No history of this host yet").waitFor();

        const technique = page.getByRole("link", { name: "T1046 Network Service Discovery" });
        assert.match(await technique.getAttribute("rel"), /noopener/);
        await context.grantPermissions(["clipboard-read", "clipboard-write"]);
        await page.getByRole("button", { name: "Copy Community ID" }).first().click();
        await page.getByText("Copied").first().waitFor();
        assert.equal(
            await page.evaluate(() => navigator.clipboard.readText()),
            "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
        );
    }),
);

test("triage is kept", TIMEOUT, () =>
    withPage(async (page) => {
        await collector.ingest(makeAlert({ src: "10.9.1.3" }));
        await openAlert(page, "10.9.1.3 tried 1000 ports");
        await page.getByRole("button", { name: "investigating" }).click();
        await page.getByRole("button", { name: "investigating", pressed: true }).waitFor();
        await page.getByLabel("Verdict").selectOption("true_positive");
        await page.getByRole("button", { name: "Assign to me" }).click();
        await page.getByRole("button", { name: "Give back" }).waitFor();

        const id = Number(/alerts\/(\d+)/.exec(page.url())[1]);
        const token = await collector.token();
        const kept = await collector.call("GET", `/api/alerts/${id}`, { token });
        assert.equal(kept.status, "investigating");
        assert.equal(kept.verdict, "true_positive");
        assert.equal(kept.assigned_to, "admin");

        await page.reload();
        await page.getByRole("button", { name: "investigating", pressed: true }).waitFor();
        assert.equal(await page.getByLabel("Verdict").inputValue(), "true_positive");
        await page.getByRole("button", { name: "Give back" }).waitFor();
    }),
);

test("what a colleague changes appears by itself", TIMEOUT, () =>
    withPage(async (page) => {
        await collector.ingest(makeAlert({ src: "10.9.1.4" }));
        await openAlert(page, "10.9.1.4 tried 1000 ports");
        const id = Number(/alerts\/(\d+)/.exec(page.url())[1]);
        const token = await collector.token();
        await collector.call("PATCH", `/api/alerts/${id}`, { token, json: { status: "closed" } });
        await page.getByRole("button", { name: "closed", pressed: true }).waitFor();
    }),
);

test("a viewer looks, and cannot triage", TIMEOUT, () =>
    withPage(
        async (page) => {
            await collector.ingest(makeAlert({ src: "10.9.1.5" }));
            await openAlert(page, "10.9.1.5 tried 1000 ports");
            await page.getByText("You can look, but not change: your role is viewer.").waitFor();
            assert.equal(
                await page.getByRole("button", { name: "acknowledged" }).isDisabled(),
                true,
            );
            assert.equal(await page.getByLabel("Verdict").isDisabled(), true);
            assert.equal(await page.getByRole("button", { name: "Assign to me" }).count(), 0);

            const id = Number(/alerts\/(\d+)/.exec(page.url())[1]);
            const token = await collector.token(viewer.username, viewer.password);
            const { response } = await collector.send("PATCH", `/api/alerts/${id}`, {
                token,
                json: { status: "closed" },
            });
            assert.equal(response.status, 403);
        },
        { user: viewer },
    ),
);

test("chips, words and the chart narrow the list", TIMEOUT, () =>
    withPage(async (page) => {
        const early = new Date("2026-01-04T00:00:00Z");
        await collector.ingest(
            makeAlert({
                src: "10.9.2.1",
                severity: "low",
                detector: "anomaly",
                signature: "A quiet oddity",
                at: early,
            }),
            makeAlert({
                src: "10.9.2.2",
                severity: "critical",
                detector: "beacon",
                signature: "A loud beacon",
            }),
        );
        await row(page, "A loud beacon").waitFor();

        await page
            .getByRole("group", { name: "Severity" })
            .getByRole("button", { name: /low/ })
            .click();
        await row(page, "A loud beacon").waitFor({ state: "detached" });
        await row(page, "A quiet oddity").waitFor();
        assert.equal(
            await page.getByRole("textbox", { name: "Search alerts" }).inputValue(),
            "severity:low",
        );
        await page
            .getByRole("group", { name: "Severity" })
            .getByRole("button", { name: /critical/ })
            .click();
        await row(page, "A loud beacon").waitFor();

        await search(page, "-severity:high beacon");
        await row(page, "A quiet oddity").waitFor({ state: "detached" });
        await row(page, "A loud beacon").waitFor();
        await search(page, "no such words anywhere");
        await page.getByText("No alert matches").waitFor();
        await page.getByRole("button", { name: "Clear the search" }).first().click();
        await row(page, "A loud beacon").waitFor();

        await page.getByRole("img", { name: /Alerts over time: .*1 critical, .*1 low/ }).waitFor();
        const chart = await page.locator(".timeline canvas").first().boundingBox();
        await page.mouse.move(chart.x + 4, chart.y + 60);
        await page.mouse.down();
        await page.mouse.move(chart.x + chart.width / 2, chart.y + 60, { steps: 6 });
        await page.mouse.up();
        await row(page, "A loud beacon").waitFor({ state: "detached" });
        await row(page, "A quiet oddity").waitFor();
        assert.match(
            await page.getByRole("textbox", { name: "Search alerts" }).inputValue(),
            /^time:>=\S+ time:<\S+$/,
        );
        await page.getByRole("button", { name: "All of it" }).click();
        await row(page, "A loud beacon").waitFor();
    }),
);

test("a search that cannot be understood is explained", TIMEOUT, () =>
    withPage(
        async (page) => {
            await search(page, "severity:enormous");
            await page
                .getByRole("alert")
                .getByText(/enormous/)
                .waitFor();
        },
        { allow: [/status of 4(00|22)/] },
    ),
);

test("the keyboard is enough", TIMEOUT, () =>
    withPage(async (page) => {
        await collector.ingest(makeAlert({ src: "10.9.3.1" }), makeAlert({ src: "10.9.3.2" }));
        await row(page, "10.9.3.2 tried").waitFor();
        await row(page, "10.9.3.1 tried").waitFor();
        await page.keyboard.press("j");
        await page.keyboard.press("j");
        await page.keyboard.press("k");
        await page.keyboard.press("j");
        const second = await page.locator("tr.row").nth(1).getByRole("link").innerText();
        await page.keyboard.press("Enter");
        await page.getByRole("heading", { level: 1, name: second }).waitFor();
        await page.keyboard.press("Escape");
        await page.locator("tr.row.is-selected", { hasText: second }).waitFor();
        await page.keyboard.press("/");
        await page.keyboard.type("10.9.3.1");
        await page.keyboard.press("Enter");
        await row(page, "10.9.3.2 tried").waitFor({ state: "detached" });
    }),
);

test("incidents: list, story, comments, and no change is overwritten", TIMEOUT, () =>
    withPage(
        async (page) => {
            await collector.ingest(
                makeAlert({ src: "10.9.4.1", dst: "10.9.4.9" }),
                makeAlert({
                    src: "10.9.4.1",
                    dst: "10.9.4.9",
                    detector: "brute_force",
                    signature: "10.9.4.1 failed 212 logins",
                    severity: "critical",
                }),
            );
            await openAlert(page, "10.9.4.1 failed 212 logins");
            await page.getByRole("link", { name: /^Incident #/ }).click();
            await page.locator(".story li", { hasText: "10.9.4.1 tried 1000 ports" }).waitFor();
            await page.locator(".story li", { hasText: "10.9.4.1 failed 212 logins" }).waitFor();
            await page.getByRole("img", { name: /2 alerts by detector and time/ }).waitFor();
            const id = Number(/incidents\/(\d+)/.exec(page.url())[1]);

            await page.getByLabel("Your comment").fill("Looked at it: <b>a real one</b>");
            await page.getByRole("button", { name: "Add comment" }).click();
            await page
                .locator(".activity li", { hasText: "Looked at it: <b>a real one</b>" })
                .waitFor();
            await page.getByRole("button", { name: "contained" }).click();
            await page.getByRole("button", { name: "contained", pressed: true }).waitFor();

            const token = await collector.token();
            const kept = await collector.call("GET", `/api/incidents/${id}`, { token });
            assert.equal(kept.status, "contained");
            assert.equal(kept.comments.at(-1).text, "Looked at it: <b>a real one</b>");

            await page.goto(`${collector.url}/#/incidents`);
            await page.locator(`tr[data-incident="${id}"]`, { hasText: "contained" }).waitFor();

            await page.route("**/api/ws", (route) => route.abort());
            await page.goto(`${collector.url}/#/incidents/${id}`);
            await page.getByRole("button", { name: "contained", pressed: true }).waitFor();
            let isChanged = false;
            await page.route(`**/api/incidents/${id}`, async (route) => {
                if (route.request().method() === "PATCH" && !isChanged) {
                    isChanged = true; /* a colleague is a moment faster */
                    await collector.call("PATCH", `/api/incidents/${id}`, {
                        token,
                        json: { severity: "low" },
                    });
                }
                await route.continue();
            });
            await page.getByRole("button", { name: "resolved" }).click();
            await page.getByText("Somebody else changed this incident meanwhile").waitFor();
            assert.equal(
                (await collector.call("GET", `/api/incidents/${id}`, { token })).status,
                "contained",
            );
            await page.getByRole("button", { name: "resolved" }).click();
            await page.getByRole("button", { name: "resolved", pressed: true }).waitFor();
        },
        { allow: [/status of 412/] },
    ),
);

test("markup in an alert is text", TIMEOUT, () =>
    withPage(async (page) => {
        const evil = `<img src=x onerror="window.windTestHit=1"><script>window.windTestHit=1</script>`;
        const explain = [
            { ...REASONS[0], name: `a"><svg onload=alert(1)>`, text: `${evil} reason` },
        ];
        const alert = makeAlert({ src: "10.9.5.1", signature: `${evil} here`, explain });
        alert.wind.entities.push({
            kind: "domain",
            value: `"><script>alert(1)</script>`,
            role: "related",
        });
        alert.wind.technique = { id: `javascript:alert(1)`, name: evil.slice(0, 40), tactic: "x" };
        await collector.ingest(alert);
        await openAlert(page, "here");
        await page.locator(".why-text", { hasText: "<script>" }).waitFor();
        await page.goto(`${collector.url}/#/incidents`);
        await page.locator("tr[data-incident]").first().waitFor();
        assert.equal(await page.evaluate(() => window.windTestHit), undefined);
        assert.equal(await page.locator("#root img, #root script").count(), 0);
    }),
);

test("a collector that was away is found again, and nothing is missed", TIMEOUT, () =>
    withPage(
        async (page) => {
            await collector.stop();
            await page.getByText("Reconnecting").waitFor();
            await collector.start();
            await collector.ingest(makeAlert({ src: "10.9.6.1" }));
            await row(page, "10.9.6.1 tried").waitFor({ timeout: 40_000 });
            await page.getByText("Live", { exact: true }).waitFor();
        },
        { allow: [/WebSocket|ERR_CONNECTION|Failed to load/] },
    ),
);

test("a chart whose code did not come at first is drawn all the same", TIMEOUT, () =>
    withPage(
        async (page) => {
            let refusals = 0;
            await page.route(/assets\/echarts/, (route) =>
                refusals++ ? route.continue() : route.abort(),
            );
            await signIn(page, admin);
            await page.locator(".timeline canvas").first().waitFor();
            assert.ok(refusals > 1);
        },
        { user: null, allow: [/ERR_FAILED/] },
    ),
);

test("a reload keeps the session, signing out ends it", TIMEOUT, () =>
    withPage(async (page) => {
        await page.reload();
        await page.getByText("Live", { exact: true }).waitFor();
        const stored = await page.evaluate(() => JSON.stringify({ ...localStorage }));
        assert.equal(stored, "{}", "nothing outlives the tab");
        const refresh = await page.evaluate(() => sessionStorage.getItem("wind.refresh"));
        await page.getByRole("button", { name: "Sign out" }).click();
        await page.getByRole("button", { name: "Sign in" }).waitFor();
        await until("the session ends at the collector too", async () => {
            const form = { grant_type: "refresh_token", refresh_token: refresh };
            return !(await collector.send("POST", "/api/auth/token", { form })).response.ok;
        });
    }),
);

test(
    "readable by everybody: no accessibility faults, light and dark, wide and narrow",
    TIMEOUT,
    async () => {
        const looks = [
            { colorScheme: "light" },
            { colorScheme: "dark" },
            { colorScheme: "light", viewport: { width: 390, height: 800 } },
        ];
        for (const look of looks) {
            await withPage(async (page) => {
                await row(page, "10.9.1.2 tried").waitFor();
                const id = await row(page, "10.9.1.2 tried").first().getAttribute("data-alert");
                for (const hash of ["#/alerts", `#/alerts/${id}`, "#/incidents", "#/incidents/1"]) {
                    await page.goto(`${collector.url}/${hash}`);
                    await page.locator("h1").first().waitFor();
                    await page.locator(".skeleton").first().waitFor({ state: "detached" });
                    const isScrolling = await page.evaluate(
                        () => document.documentElement.scrollWidth > innerWidth,
                    );
                    assert.equal(isScrolling, false, `${hash} is wider than the window`);
                    await page.evaluate(axeSource);
                    const found = await page.evaluate(() =>
                        window.axe.run(document, { resultTypes: ["violations"] }),
                    );
                    const faults = found.violations.map(
                        (v) => `${v.id}: ${v.nodes[0].html} ${v.nodes[0].failureSummary}`,
                    );
                    assert.deepEqual(faults, [], `${hash} ${JSON.stringify(look)}`);
                }
            }, look);
        }
    },
);
