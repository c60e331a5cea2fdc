// Drives examples/social in a real browser: node social.mjs BASE_URL zitadel|certified
//
// It logs in with a provider that other people wrote: the one of the example itself, or the npm
// package oidc-provider. It checks:
//
//   logging in   the first time, which creates an account, and again
//   cancelling   at the provider, which changes nothing
//   linking      in the settings, and unlinking; the last way to log in stays
//   step-up      with max_age the provider authenticates the user again
//   strangers    a link in another browser, and a login that another site starts
//
// playwright-core is found through NODE_PATH; see run.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { chromium } = createRequire(import.meta.url)("playwright-core");

const [base, kind] = process.argv.slice(2);
const certified = kind === "certified";
assert.ok(base && (certified || kind === "zitadel"), "usage: node social.mjs BASE_URL zitadel|certified");
const first = certified ? { name: "first", email: "first@example.org" } : { name: "test-user@localhost", email: "test-user@zitadel.ch" };
const second = certified ? { name: "second", email: "second@example.org" } : { name: "test-user2", email: "test-user2@zitadel.ch" };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});

// open opens the login page in a new browser context.
async function open() {
  const context = await browser.newContext();
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.text().includes(base) && /content.security.policy/i.test(message.text())) {
      assert.fail(message.text());
    }
  });
  await page.goto(`${base}/login`);
  return page;
}

// atProvider logs in at the provider, and consents if it asks.
async function atProvider(page, user) {
  await page.waitForURL((url) => url.hostname === "localhost");
  if (!certified) {
    await page.locator("input[name=username]").fill(user.name);
    await page.locator("input[name=password]").fill("verysecure");
    await page.locator("[type=submit]").click();
  } else {
    await page.locator("input[name=login]").fill(user.name);
    await page.locator("input[name=password]").fill("any");
    await page.getByRole("button", { name: "Sign-in" }).click();
    await consent(page);
  }
}

async function consent(page) {
  const consents = page.getByRole("button", { name: "Continue" });
  await Promise.race([consents.waitFor(), page.waitForURL((url) => url.href.startsWith(base))]);
  if (!page.url().startsWith(base)) {
    await consents.click();
  }
}

const greeting = (page, email) => page.getByRole("heading", { name: `Hello, ${email}` }).waitFor();
const start = (page) => page.getByRole("link", { name: "Log in with the provider" }).click();

try {
  const page = await open();
  await start(page);
  await atProvider(page, first);
  await greeting(page, first.email);
  await page.getByText("Logged in by fed").waitFor();
  const cookies = await page.context().cookies(base);
  assert.deepEqual(cookies.map((c) => [c.name, c.httpOnly, c.secure, c.sameSite, c.path]).sort(), [
    ["__Host-oidclogin", true, true, "Lax", "/"],
    ["__Host-session", true, true, "Lax", "/"],
  ]);
  console.log("ok   logs in, which creates an account");

  await page.getByRole("button", { name: "Log out" }).click();
  await page.goto(`${base}/login`);
  await start(page);
  if (!certified) { // the other one has a session of its own
    await atProvider(page, first);
  }
  await greeting(page, first.email);
  console.log("ok   logs in again");

  await page.getByRole("button", { name: "Unlink" }).click();
  await page.getByText("The last way to log in stays.").waitFor();
  console.log("ok   keeps the last way to log in");

  // The time of the login is in whole seconds, and max_age is one.
  await page.goto(base);
  const before = await page.locator("p", { hasText: "Logged in by" }).textContent();
  await page.waitForTimeout(2500);
  await page.getByRole("link", { name: "Confirm that it is you" }).click();
  await atProvider(page, first);
  await greeting(page, first.email);
  assert.notEqual(await page.locator("p", { hasText: "Logged in by" }).textContent(), before, "the login is not fresh");
  console.log("ok   authenticates again with max_age");

  // Cancelling: the certified provider has a link for it. The answer of the other one is made here.
  const changing = await open();
  if (certified) {
    await start(changing);
    await changing.waitForURL((url) => url.hostname === "localhost");
    await changing.getByRole("link", { name: "Cancel" }).click();
  } else {
    const asked = changing.waitForRequest((request) => new URL(request.url()).searchParams.has("state"));
    await start(changing);
    const state = new URL((await asked).url()).searchParams.get("state");
    await changing.goto(`${base}/oidc/idp/callback?${new URLSearchParams({ error: "access_denied", state })}`);
  }
  await changing.getByRole("heading", { name: "Cancelled" }).waitFor();
  await changing.goto(base);
  await changing.getByRole("button", { name: "Log in" }).waitFor();
  console.log("ok   cancels");

  const ann = await open();
  await ann.getByLabel("E-mail").fill("ann@example.com");
  await ann.getByLabel("Password").fill("correct horse battery");
  await ann.getByRole("button", { name: "Log in" }).click();
  await greeting(ann, "ann@example.com");
  await ann.getByText("No provider is linked.").waitFor();
  await ann.getByRole("button", { name: "Link the provider" }).click();
  await atProvider(ann, second);
  await greeting(ann, "ann@example.com");
  await ann.getByText(`idp: ${second.email}`).waitFor();
  console.log("ok   links");

  const other = await open();
  await start(other);
  await atProvider(other, second);
  await greeting(other, "ann@example.com");
  console.log("ok   logs in with the link");

  await other.getByRole("button", { name: "Unlink" }).click();
  await other.getByText("No provider is linked.").waitFor();
  console.log("ok   unlinks");

  // A link that Ann has begun, and that another user is lured to. The answer arrives in the browser
  // of that user, with Ann's state.
  await other.context().clearCookies({ domain: "localhost" }); // of the provider, which would answer at once
  const asked = other.waitForRequest((request) => new URL(request.url()).searchParams.has("state"));
  await other.getByRole("button", { name: "Link the provider" }).click();
  const bait = (await asked).url();
  const victim = await open();
  await victim.goto(bait);
  await atProvider(victim, first);
  await victim.getByText("The login is not valid").waitFor();
  assert.ok(!(await victim.context().cookies(base)).some((c) => c.name === "__Host-session"), "the victim is logged in");
  await other.goto(base);
  await other.getByText("No provider is linked.").waitFor();
  console.log("ok   refuses a link in another browser");

  // A link on another site leads to a page that asks for a click.
  const elsewhere = await open();
  await elsewhere.goto(base.replace("127.0.0.1", "localhost"));
  await elsewhere.setContent(`<a href="${base}/oidc/idp">Win a prize</a>`);
  await elsewhere.getByRole("link").click();
  await elsewhere.getByRole("heading", { name: "Continue with the provider" }).waitFor();
  await elsewhere.getByRole("link", { name: "Continue" }).click();
  await elsewhere.waitForURL((url) => url.hostname === "localhost");
  console.log("ok   asks before a login that another site starts");
} finally {
  await browser.close();
}
