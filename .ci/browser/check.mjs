// Drives the demo's pages in a real browser.
//
//   node check.mjs BASE_URL [SCREENSHOT_FOLDER]
//
// /docs: Authorize as admin, try GET /admin/users/, see the accounts.
// /redoc: complete without JavaScript; with it, ReDoc takes the page over.
// On both: nothing asks another host, and nothing breaks the page's
// Content-Security-Policy, but for the one picture named below.
//
// playwright-core is found through NODE_PATH; see run.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(import.meta.url)("playwright-core");

const [base, shots] = process.argv.slice(2);
assert.ok(base, "usage: node check.mjs BASE_URL [SCREENSHOT_FOLDER]");

// ReDoc's menu asks its maker's host for a logo, and shows none if it gets none.
// The policy is meant to stop it.
const redocLogo = "https://cdn.redoc.ly/redoc/logo-mini.svg";

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

// visit runs steps on a fresh page and fails if the page went astray meanwhile.
async function visit(name, options, steps, allowed = []) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const faults = [];
  const isAllowed = (text) => allowed.some((url) => text.includes(url));
  page.on("pageerror", (error) => faults.push(`error: ${error}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !isAllowed(message.text())) {
      faults.push(`console: ${message.text()}`);
    }
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (!["data:", "blob:"].includes(url.protocol) && url.origin !== new URL(base).origin && !isAllowed(url.href)) {
      faults.push(`asked another host: ${url}`);
    }
  });
  try {
    await steps(page);
    if (shots) {
      await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
    }
    assert.deepEqual(faults, [], name);
    console.log(`ok   ${name}`);
  } finally {
    await context.close();
  }
}

async function docs(page) {
  await page.goto(`${base}/docs`);
  await page.getByRole("heading", { name: "Backend Security Demo" }).waitFor();

  await page.getByRole("button", { name: "Authorize" }).first().click();
  const dialog = page.locator(".dialog-ux");
  await dialog.getByLabel("username").fill("admin@example.com");
  await dialog.getByLabel("password").fill("admin123");
  if (shots) {
    await page.screenshot({ path: join(shots, "docs-authorize.png") });
  }
  const login = page.waitForResponse(`${base}/token`);
  await dialog.getByRole("button", { name: "Apply given OAuth2 credentials" }).click();
  assert.equal((await login).status(), 200, "login");
  await dialog.getByRole("button", { name: "Remove authorization" }).waitFor();
  await dialog.getByRole("button", { name: "Close", exact: true }).click();

  const operation = page.locator("#operations-administration-listAccounts");
  await operation.locator(".opblock-summary-control").click();
  await operation.getByRole("button", { name: "Try it out" }).click();
  const listed = page.waitForResponse(`${base}/admin/users/`);
  await operation.getByRole("button", { name: "Execute" }).click();
  assert.equal((await listed).status(), 200, "GET /admin/users/");
  const live = operation.locator(".live-responses-table");
  await live.getByText("200", { exact: true }).first().waitFor();
  await live.getByText("admin@example.com").first().waitFor();
}

async function reference(page) {
  const paths = Object.keys((await (await page.request.get(`${base}/openapi.json`)).json()).paths);
  assert.ok(paths.length >= 6);
  await page.goto(`${base}/redoc`);
  const text = await page.locator("main").innerText();
  for (const expected of [
    "Backend Security Demo",
    "OAuth2 Password Flow Demo",
    ...paths,
    "Required role: admin",
    "grant_type",
    "expires_in",
    "User",
    "UserCreate",
    "Token",
    "Problem",
  ]) {
    assert.ok(text.includes(expected), `the reference says nothing of ${expected}`);
  }
}

async function redoc(page) {
  await page.goto(`${base}/redoc`);
  await page.locator("#redoc h1", { hasText: "Backend Security Demo" }).waitFor();
  assert.equal(await page.locator("#reference").count(), 0, "the reference is still there");
  const menu = page.locator("#redoc .menu-content");
  await menu.getByText("administration").click();
  await menu.getByText("Create an account").click();
  await page.locator("#redoc h2", { hasText: "Create an account" }).waitFor();
  const position = await menu.evaluate((node) => getComputedStyle(node).position);
  assert.equal(position, "sticky", "ReDoc's styles are not applied");
}

try {
  await visit("docs", {}, docs);
  await visit("redoc-without-javascript", { javaScriptEnabled: false }, reference);
  await visit("redoc-without-javascript-narrow", { javaScriptEnabled: false, viewport: { width: 390, height: 800 } }, reference);
  await visit("redoc", {}, redoc, [redocLogo]);
} finally {
  await browser.close();
}
