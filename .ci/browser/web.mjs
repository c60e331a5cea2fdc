// Drives examples/web in a real browser: node web.mjs BASE_URL
//
// It checks:
//
//   logging in   wrong and right password, the way back to the page that was asked for, all of
//                it without JavaScript too
//   the cookie   as the browser keeps it; after a restart one is there, and the other is gone
//   live parts   events arrive, the WebSocket answers, and both end with the session
//   strangers    a page on another port, which gets the cookies along with its requests, can
//                post nothing, read nothing and open no WebSocket
//   Back         shows no page of a session that has ended
//
// playwright-core is found through NODE_PATH; see run.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { chromium } = createRequire(import.meta.url)("playwright-core");

const base = process.argv[2];
assert.ok(base, "usage: node web.mjs BASE_URL");
const profile = await mkdtemp(join(tmpdir(), "web-"));
const options = {
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
  ignoreDefaultArgs: ["--disable-back-forward-cache"], // Back is looked at as users have it
};

// launch starts the browser on its profile, which outlives it.
async function launch() {
  const context = await chromium.launchPersistentContext(profile, options);
  context.setDefaultTimeout(15_000);
  return context;
}

const faults = [];

// open opens a page of the site, which must keep to its policy.
async function open(context, path = "/") {
  const page = await context.newPage();
  page.on("pageerror", (error) => faults.push(`error: ${error}`));
  page.on("console", (message) => {
    if (/content.security.policy/i.test(message.text())) {
      faults.push(`console: ${message.text()}`);
    }
  });
  await page.goto(base + path);
  return page;
}

async function logIn(page, { password = "correct horse battery", remember = false } = {}) {
  await page.getByLabel("E-mail").fill("ann@example.com");
  await page.getByLabel("Password").fill(password);
  await page.getByLabel("Remember me").setChecked(remember);
  await page.getByRole("button", { name: "Log in" }).click();
}

const isHome = (page) => page.getByText("Hello, Ann.").waitFor();
const isLogin = (page) => page.getByRole("heading", { name: "Log in" }).waitFor();
const path = (page) => page.url().slice(base.length);

async function withoutScripts() {
  const browser = await chromium.launch(options);
  try {
    const context = await browser.newContext({ javaScriptEnabled: false });
    context.setDefaultTimeout(15_000);
    const page = await open(context);
    await isLogin(page);
    await logIn(page);
    await isHome(page);
    assert.equal(await page.getByText("This part needs JavaScript.").count(), 2);
    await page.getByRole("link", { name: "Change the password" }).click();
    await page.getByLabel("Current password").fill("wrong horse battery");
    await page.getByLabel("New password").fill("another horse battery");
    await page.getByRole("button", { name: "Change the password" }).click();
    await page.getByRole("alert").getByText("The current password is not correct.").waitFor();
    await page.goto(base);
    await page.getByRole("button", { name: "Log out" }).click();
    await isLogin(page);
    assert.equal((await context.cookies()).length, 0);
  } finally {
    await browser.close();
  }
  console.log("ok   works without JavaScript");
}

async function logsIn(context) {
  const page = await open(context, "/password?x=y");
  await isLogin(page);
  assert.equal(path(page), "/login?return=%2Fpassword%3Fx%3Dy");
  await logIn(page, { password: "wrong horse battery" });
  await page.getByRole("alert").getByText("Incorrect username or password.").waitFor();
  assert.equal((await context.cookies()).length, 0);
  await logIn(page);
  await page.getByRole("heading", { name: "Change the password" }).waitFor();
  assert.equal(path(page), "/password?x=y");
  console.log("ok   logs in, and leads back to the page that was asked for");

  const [cookie, ...more] = await context.cookies();
  assert.deepEqual(more, []);
  const { name, domain, secure, httpOnly, sameSite, expires } = cookie;
  assert.deepEqual(
    { name, path: cookie.path, domain, secure, httpOnly, sameSite, expires },
    { name: "__Host-session", path: "/", domain: "127.0.0.1", secure: true, httpOnly: true, sameSite: "Lax", expires: -1 },
  );
  assert.equal(await page.evaluate(() => document.cookie), "");
  console.log("ok   keeps the cookie from scripts");

  await page.goto(base);
  await isHome(page);
  await page.locator("#events li", { hasText: "event 2" }).waitFor();
  await page.getByLabel("Message").fill("grüß dich");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("The server answers: grüß dich").waitFor();
  console.log("ok   events arrive, and the WebSocket answers");
  return page;
}

// socketTo opens a WebSocket from a page, and returns whether it opened, and its error.
async function socketTo(page, url) {
  const session = await page.context().newCDPSession(page);
  const seen = { error: "" };
  session.on("Network.webSocketFrameError", ({ errorMessage }) => { seen.error = errorMessage; });
  await session.send("Network.enable");
  seen.opened = await page.evaluate((url) => new Promise((resolve) => {
    const socket = new WebSocket(url);
    socket.onopen = () => { resolve(true); socket.close(); };
    socket.onerror = () => resolve(false);
  }), url);
  await session.detach();
  return seen;
}

async function refusesStrangers(context, page) {
  const socket = base.replace("http", "ws") + "/echo";
  assert.equal((await socketTo(page, socket)).opened, true, "the site's own page");

  const server = createServer((_, response) => response.setHeader("Content-Type", "text/html").end("<title>stranger</title>"));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address();
    // One on another port is of the same site, so that it gets the cookie along. One on another
    // host gets none.
    for (const [elsewhere, sent] of [[`http://127.0.0.1:${port}/`, true], [`http://localhost:${port}/`, false]]) {
      const stranger = await context.newPage();
      for (const [target, fields] of [
        ["/login", { username: "ann@example.com", password: "correct horse battery" }],
        ["/password", { current: "correct horse battery", new: "another horse battery" }],
        ["/logout", {}],
      ]) {
        await stranger.goto(elsewhere);
        const answered = stranger.waitForResponse((response) => response.url() === base + target);
        await stranger.evaluate(([action, fields]) => {
          const form = document.createElement("form");
          Object.assign(form, { method: "post", action });
          for (const [name, value] of Object.entries(fields)) {
            form.append(Object.assign(document.createElement("input"), { name, value }));
          }
          document.body.append(form);
          form.submit();
        }, [base + target, fields]);
        const response = await answered;
        await stranger.waitForURL(base + target);
        const status = target === "/password" && !sent ? 401 : 403;
        assert.equal(response.status(), status, `${target} from ${elsewhere}`);
        if (target === "/password") {
          assert.equal("cookie" in (await response.request().allHeaders()), sent, `the cookie from ${elsewhere}`);
        }
      }
      await stranger.goto(elsewhere);
      const tried = await socketTo(stranger, socket);
      assert.equal(tried.opened, false, "a WebSocket");
      assert.match(tried.error, sent ? /code: 403/ : /Authentication failed/); // 401: without the cookie
      const heard = await stranger.evaluate((url) => new Promise((resolve) => {
        const source = new EventSource(url, { withCredentials: true });
        source.onmessage = () => resolve("an event");
        source.onerror = () => { source.close(); resolve("nothing"); };
      }), `${base}/events`);
      assert.equal(heard, "nothing");
      const read = await stranger.evaluate((url) => fetch(url, { credentials: "include" }).then((r) => r.text(), () => "nothing"), base);
      assert.equal(read, "nothing");
      await stranger.close();
    }
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  await page.reload();
  await isHome(page);
  console.log("ok   refuses pages of other origins");
}

async function logsOut(context, page) {
  const tab = await open(context);
  await tab.locator("#events li").first().waitFor();
  await tab.getByLabel("Message").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await isLogin(page);
  assert.equal(path(page), "/login");
  assert.equal((await context.cookies()).length, 0);
  await tab.locator("#stream-state", { hasText: "The session has ended." }).waitFor();
  await tab.locator("#echo-state", { hasText: "The session has ended." }).waitFor();
  console.log("ok   a logout ends the stream and the WebSocket of another tab");

  await page.evaluate(() => history.back());
  await page.waitForURL(/\/login\?return/);
  await isLogin(page);
  assert.equal(await page.getByText("Hello, Ann.").count(), 0);
  await tab.reload();
  await isLogin(tab);
  console.log("ok   Back shows no page after the logout");
}

let context;
try {
  await withoutScripts();
  context = await launch();
  const page = await logsIn(context);
  await refusesStrangers(context, page);
  await logsOut(context, page);
  await logIn(page);
  await isHome(page);
  await context.close();

  context = await launch();
  let again = await open(context);
  await isLogin(again);
  assert.equal((await context.cookies()).length, 0);
  await logIn(again, { remember: true });
  await isHome(again);
  const [{ expires }] = await context.cookies();
  const days = (expires - Date.now() / 1000) / 86_400;
  assert.ok(days > 29.9 && days <= 30, `it is kept for ${days} days`);
  await context.close();

  context = await launch();
  again = await open(context);
  await isHome(again);
  await context.close();
  console.log("ok   a restart ends the session, unless the user asked to be remembered");
  assert.deepEqual(faults, []);
} finally {
  await context?.close();
  await rm(profile, { recursive: true, force: true, maxRetries: 10 });
}
