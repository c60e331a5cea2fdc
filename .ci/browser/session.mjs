// Drives examples/browser in a real browser: node session.mjs BASE_URL
//
// The page logs in, stays logged in over a reload and in a second tab, shows its cookie to no
// script, and logs out of all of it. Another origin can do none of that.
//
// playwright-core is found through NODE_PATH; see run.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { chromium } = createRequire(import.meta.url)("playwright-core");

const base = process.argv[2];
assert.ok(base, "usage: node session.mjs BASE_URL");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});
try {
  const context = await browser.newContext();
  context.setDefaultTimeout(15_000);
  const open = async () => {
    const page = await context.newPage();
    page.on("pageerror", (error) => assert.fail(`error: ${error}`));
    await page.goto(base);
    return page;
  };
  const page = await open();
  const logIn = async (password) => {
    await page.getByLabel("E-mail").fill("ann@example.com");
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
  };
  await logIn("wrong horse battery");
  await page.getByText("Incorrect e-mail or password.").waitFor();
  await logIn("correct horse battery");
  await page.getByText("hello, Ann").waitFor();
  console.log("ok   logs in");

  const cookies = await context.cookies();
  assert.equal(cookies.length, 1);
  assert.deepEqual(
    { name: cookies[0].name, httpOnly: cookies[0].httpOnly, secure: cookies[0].secure, sameSite: cookies[0].sameSite, path: cookies[0].path },
    { name: "__Host-refresh", httpOnly: true, secure: true, sameSite: "Strict", path: "/" },
  );
  assert.equal(await page.evaluate(() => document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)), "{}{}");
  console.log("ok   keeps the cookie from scripts");

  await page.reload();
  await page.getByText("hello, Ann").waitFor();
  assert.notEqual((await context.cookies())[0].value, cookies[0].value, "the token was not rotated");
  const tabs = await Promise.all([open(), open(), open()]);
  for (const tab of [page, ...tabs]) {
    await tab.reload();
    await tab.getByText("hello, Ann").waitFor();
  }
  console.log("ok   stays logged in, in four tabs");

  // A page of another origin, with the browser's cookies: what it posts is refused, and what it
  // would have to ask for beforehand (CORS) is not sent.
  const stranger = await context.newPage();
  const elsewhere = base.replace("127.0.0.1", "localhost");
  await stranger.goto(`${elsewhere}/hello`); // a page without a policy of its own
  await stranger.setContent("<form method=post target=_self><input name=username value=ann@example.com><input name=password value='correct horse battery'></form>");
  const refused = stranger.waitForResponse((response) => response.url() === `${base}/session`);
  await stranger.evaluate((url) => {
    document.forms[0].action = url;
    document.forms[0].submit();
  }, `${base}/session`);
  assert.equal((await refused).status(), 403, "a form of another origin");
  const asking = await context.newPage();
  await asking.goto(`${elsewhere}/hello`);
  for (const method of ["PUT", "DELETE"]) {
    const sent = await asking.evaluate(
      ([url, method]) => fetch(url, { method, credentials: "include" }).then(() => "answered", () => "refused"),
      [`${base}/session`, method],
    );
    assert.equal(sent, "refused", method);
  }
  await page.reload();
  await page.getByText("hello, Ann").waitFor();
  console.log("ok   refuses another origin");

  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("button", { name: "Log in" }).waitFor();
  assert.equal((await context.cookies()).length, 0, "the cookie is still there");
  await tabs[0].getByRole("button", { name: "Ask again" }).click();
  await tabs[0].getByRole("button", { name: "Log in" }).waitFor();
  console.log("ok   logs out, in every tab");
} finally {
  await browser.close();
}
