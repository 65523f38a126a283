/* node screenshot.mjs URL PASSWORD FOLDER: alerts.png (the list) and why.png (one alert) for README. */
import path from "node:path";
import { launch, signIn, visit } from "./support/browser.mjs";

const [url, password, folder] = process.argv.slice(2);
const browser = await launch();

async function shoot(page, name) {
    await page.waitForTimeout(1500); // the charts have drawn themselves
    const height = await page.evaluate(
        () => document.querySelector("main").getBoundingClientRect().bottom + scrollY,
    );
    const clip = { x: 0, y: 0, width: 1280, height: Math.min(Math.ceil(height) + 8, 600) };
    await page.screenshot({ path: path.join(folder, name), clip });
}

try {
    const viewport = { width: 1280, height: 1000 };
    const { page } = await visit(browser, `${url}/`, { viewport });
    await signIn(page, { username: "admin", password });
    await page.locator("tr.row").nth(2).waitFor();
    await shoot(page, "alerts.png");
    await page.locator("tr.row", { hasText: "port scan" }).getByRole("link").click();
    await page.getByText("because", { exact: false }).or(page.getByText("Why")).first().waitFor();
    await shoot(page, "why.png");
} finally {
    await browser.close();
}
