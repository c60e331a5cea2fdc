// Drives the demo's pages in a real browser.
//
//   node check.mjs BASE_URL [CDN_BASE_URL BUNDLE]
//
// BASE_URL is a demo with -redoc-js, CDN_BASE_URL one without, and BUNDLE the file that
// stands in for the CDN. What is looked at:
//
//   /docs    Authorize as admin, try GET /admin/users/, see the accounts; see the session,
//            log out, and be refused
//   /redoc   complete without JavaScript; with it, ReDoc takes the page over; if its
//            bundle does not come, or is not the one expected, the reference stays
//
// Everywhere: nothing asks another host, and nothing breaks the page's
// Content-Security-Policy, but for what is named below.
//
// playwright-core is found through NODE_PATH; see run.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(import.meta.url)("playwright-core");

const [base, cdnBase, bundle] = process.argv.slice(2);
assert.ok(base, "usage: node check.mjs BASE_URL [CDN_BASE_URL BUNDLE]");
const shots = process.env.SCREENSHOTS;

// ReDoc's menu asks its maker's host for a logo, and does without if it gets none. The
// policy is meant to stop it.
const redocLogo = "https://cdn.redoc.ly/redoc/logo-mini.svg";
const redocOnCDN = "https://cdn.jsdelivr.net/npm/redoc@2.5.4/bundles/redoc.standalone.js";

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

// visit opens a page in a context of its own, takes the steps, and fails if the page
// did meanwhile what it must not: allowed are addresses that it may ask or complain of.
async function visit(name, { url, options = {}, allowed = [], prepare = async () => {} }, steps) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const faults = [];
  const isAllowed = (text) => allowed.some((address) => text.includes(address));
  page.on("pageerror", (error) => faults.push(`error: ${error}`));
  page.on("console", (message) => {
    const about = `${message.text()} ${message.location().url}`;
    if (["error", "warning"].includes(message.type()) && !isAllowed(about)) {
      faults.push(`console: ${about}`);
    }
  });
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (!["data:", "blob:"].includes(asked.protocol) && asked.origin !== new URL(url).origin && !isAllowed(asked.href)) {
      faults.push(`asked another host: ${asked}`);
    }
  });
  try {
    await prepare(page);
    await page.goto(url);
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

async function tryIt(page) {
  await page.getByRole("heading", { name: "Backend Security Demo" }).waitFor();

  await page.getByRole("button", { name: "Authorize" }).first().click();
  const dialog = page.locator(".dialog-ux");
  await dialog.getByLabel("username").fill("admin@example.com");
  await dialog.getByLabel("password").fill("admin123");
  const login = page.waitForResponse(`${base}/token`);
  await dialog.getByRole("button", { name: "Apply given OAuth2 credentials" }).click();
  assert.equal((await login).status(), 200, "login");
  await dialog.getByRole("button", { name: "Remove authorization" }).waitFor();
  await dialog.getByRole("button", { name: "Close", exact: true }).click();

  const accounts = await openOperation(page, "administration-listAccounts");
  await execute(accounts, "/admin/users/", 200, "user@example.com");
  const sessions = await openOperation(page, "sessions-listSessions");
  await execute(sessions, "/users/me/sessions", 200, "last_used_at");
  await execute(await openOperation(page, "sessions-logout"), "/logout", 204, "no-store");
  await execute(sessions, "/users/me/sessions", 401, "Could not validate credentials");
}

async function openOperation(page, id) {
  const operation = page.locator(`#operations-${id}`);
  await operation.locator(".opblock-summary-control").click();
  await operation.getByRole("button", { name: "Try it out" }).click();
  return operation;
}

// execute makes the call of an operation, and looks at what the page then shows of the answer.
async function execute(operation, path, status, text) {
  const answered = operation.page().waitForResponse(`${base}${path}`);
  await operation.getByRole("button", { name: "Execute" }).click();
  assert.equal((await answered).status(), status, path);
  const live = operation.locator(".live-responses-table");
  await live.getByText(String(status), { exact: true }).first().waitFor();
  await live.getByText(text).first().waitFor();
}

// isReference asserts that the server's own reference is there, whole.
async function isReference(page) {
  const document = await (await page.request.get(`${base}/openapi.json`)).json();
  const text = await page.locator("#reference").innerText();
  for (const expected of [
    document.info.title,
    document.info.description,
    document.info.version,
    ...Object.keys(document.paths),
    ...Object.keys(document.components.schemas),
    "Required role: admin",
    "grant_type",
    "expires_in",
    "full_name",
  ]) {
    assert.ok(text.includes(expected), `the reference says nothing of ${expected}`);
  }
}

// isReDoc asserts that ReDoc has taken over, and works.
async function isReDoc(page) {
  await page.locator("#redoc h1", { hasText: "Backend Security Demo" }).waitFor();
  assert.equal(await page.locator("#reference").count(), 0, "the reference is still there");
  const menu = page.locator("#redoc .menu-content");
  await menu.getByText("administration").click();
  await menu.getByText("Create an account").click();
  await page.locator("#redoc h2", { hasText: "Create an account" }).waitFor();
  const position = await menu.evaluate((node) => getComputedStyle(node).position);
  assert.equal(position, "sticky", "ReDoc's styles are not applied");
}

// fromCDN visits a demo whose bundle is on the CDN, with an answer in the CDN's place.
async function fromCDN(name, answer, allowed, steps) {
  const prepare = (page) => page.route(redocOnCDN, answer);
  await visit(name, { url: `${cdnBase}/redoc`, allowed: [redocOnCDN, ...allowed], prepare }, steps);
}

try {
  const noScript = { javaScriptEnabled: false };
  const narrow = { ...noScript, viewport: { width: 390, height: 800 } };
  const refused = [`${base}/users/me/sessions`]; // after the logout, which the console complains of
  await visit("docs", { url: `${base}/docs`, allowed: refused }, tryIt);
  await visit("redoc without JavaScript", { url: `${base}/redoc`, options: noScript }, isReference);
  await visit("redoc without JavaScript on a telephone", { url: `${base}/redoc`, options: narrow }, isReference);
  await visit("redoc", { url: `${base}/redoc`, allowed: [redocLogo] }, isReDoc);
  if (cdnBase) {
    const headers = { "Access-Control-Allow-Origin": "*", "Content-Type": "text/javascript" };
    const body = await readFile(bundle);
    const settled = async (page) => {
      await page.waitForLoadState("load");
      await isReference(page);
    };
    await fromCDN("redoc from the CDN", (route) => route.fulfill({ headers, body }), [redocLogo], isReDoc);
    await fromCDN("redoc without the CDN", (route) => route.abort(), [], settled);
    const forged = Buffer.concat([body, Buffer.from("\n")]);
    await fromCDN("redoc with a forged bundle", (route) => route.fulfill({ headers, body: forged }), [], settled);
  }
} finally {
  await browser.close();
}
