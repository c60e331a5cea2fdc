// Drives the pages of package account in a real browser, without scripts and on the screen of a
// telephone: node accounts.mjs BASE_URL LOG
//
// A stranger signs up with the link in a mail, chooses another password with a second one, and sees
// what is wrong with a link that was used. The demo writes its mails to LOG.
//
// playwright-core is found through NODE_PATH; see run. SCREENSHOTS=FOLDER keeps pictures.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { chromium } = createRequire(import.meta.url)("playwright-core");

const [base, log] = process.argv.slice(2);
assert.ok(base && log, "usage: node accounts.mjs BASE_URL LOG");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});

// link waits for a mail with a link to a path, and returns the link of the newest one.
async function link(path, count) {
  const pattern = new RegExp(`${base}${path}\\?token=[A-Za-z0-9_.-]+`, "g");
  for (;;) {
    const found = readFileSync(log, "utf8").match(pattern) ?? [];
    if (found.length >= count) return found.at(-1);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function logIn(password) {
  const response = await fetch(`${base}/token`, { method: "POST", body: new URLSearchParams({ username: "ann@example.com", password }) });
  return response.status;
}

try {
  const context = await browser.newContext({ javaScriptEnabled: false, viewport: { width: 360, height: 640 }, deviceScaleFactor: 2 });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();

  // look checks that a page fits the screen, and that each field has a label.
  const look = async (name) => {
    const width = await page.locator("html").evaluate((e) => e.scrollWidth);
    assert.ok(width <= 360, `${name} is ${width} pixels wide`);
    for (const input of await page.locator("input:not([type=hidden])").all()) {
      const id = await input.getAttribute("id");
      assert.equal(await page.locator(`label[for="${id}"]`).count(), 1, `${name}: ${id} has a label`);
    }
    if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/account-${name}.png`, fullPage: true });
  };
  const open = async (url, name) => {
    const response = await page.goto(url);
    assert.equal(response.headers()["referrer-policy"], "no-referrer", "the token does not leave in a Referer");
    await look(name);
  };
  // submit sends the form of the page.
  const submit = async (fields, status, name) => {
    for (const [field, value] of Object.entries(fields)) await page.locator(`[name="${field}"]`).fill(value);
    const answered = page.waitForResponse((response) => response.request().method() === "POST");
    await page.locator("button").click();
    assert.equal((await answered).status(), status, name);
    await page.waitForLoadState();
    await look(name);
  };

  await open(`${base}/auth/register`, "register");
  await submit({ email: "ann@example.com" }, 202, "registered");
  const first = await link("/auth/signup", 1);
  await open(first, "signup");
  await submit({ full_name: "Ann", password: "short" }, 422, "signup-refused");
  await submit({ full_name: "Ann", password: "correct horse battery" }, 201, "signed-up");
  assert.equal(await logIn("correct horse battery"), 200);
  console.log("ok   signs up with the link in a mail");

  await open(first, "signup-again");
  await submit({ full_name: "Eve", password: "another horse battery" }, 400, "signup-used");
  assert.equal(await logIn("another horse battery"), 401);
  console.log("ok   refuses a link that was used");

  await open(`${base}/auth/reset`, "reset");
  await submit({ email: "ann@example.com" }, 202, "reset-asked");
  await open(await link("/auth/password", 1), "password");
  await submit({ password: "a third horse battery" }, 200, "password-set");
  assert.equal(await logIn("a third horse battery"), 200);
  assert.equal(await logIn("correct horse battery"), 401);
  console.log("ok   chooses another password with the link in a mail");

  const asked = await page.goto(`${base}/auth/reset`) && (await submit({ email: "ann@example.com" }, 202, "reset-known"), await page.content());
  await page.goto(`${base}/auth/reset`);
  await submit({ email: "nobody@example.com" }, 202, "reset-unknown");
  assert.equal((await page.content()).replaceAll("nobody@", "ann@"), asked);
  console.log("ok   reveals no account");
} finally {
  await browser.close();
}
