// Drives the demo's page for second factors in a real browser: node factors.mjs BASE_URL
//
// It sets up an authenticator app with the secret that the page shows, gets recovery codes, logs in
// with one, trusts the browser, and logs in without a second factor.
//
// playwright-core is found through NODE_PATH; see run. SCREENSHOTS=FOLDER keeps pictures.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";

const { chromium } = createRequire(import.meta.url)("playwright-core");

assert.ok(process.argv[2], "usage: node factors.mjs BASE_URL");
const base = process.argv[2].replace("127.0.0.1", "localhost"); // which keeps Secure cookies without TLS
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});

// totp returns the current code of a secret in base32 (RFC 6238).
function totp(secret) {
  let bits = "";
  for (const letter of secret) bits += "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const mac = createHmac("sha1", key).update(counter).digest();
  const number = mac.readUInt32BE(mac[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

try {
  const context = await browser.newContext({ viewport: { width: 360, height: 640 } });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.on("pageerror", (error) => assert.fail(`error: ${error}`));
  const status = (text) => page.getByRole("status").filter({ hasText: text }).waitFor();
  const password = async () => {
    await page.goto(`${base}/factors`);
    await page.getByLabel("E-mail").fill("admin@example.com");
    await page.getByLabel("Password").fill("admin123");
    await page.getByRole("button", { name: "Log in" }).click();
  };

  await password();
  await page.getByText("No second factor.").waitFor();
  await page.getByRole("button", { name: "Set up an app" }).click();
  await page.locator("#secret").filter({ hasText: /^[A-Z2-7]{32}$/ }).waitFor();
  await page.waitForFunction(() => document.getElementById("qr").naturalWidth > 100);
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 360, `the page is ${width} pixels wide`);
  await page.locator("[name=code]").fill("wrong");
  await page.getByRole("button", { name: "Confirm" }).click();
  await status("The code is not valid");
  const secret = await page.locator("#secret").textContent();
  await page.locator("[name=code]").fill(totp(secret));
  await page.getByRole("button", { name: "Confirm" }).click();
  await page.locator("#list li").nth(9).waitFor();
  const codes = await page.locator("#list li").allTextContents();
  assert.equal(codes.length, 10);
  await page.getByText("Set up: otp, recovery. Recovery codes left: 10.").waitFor();
  if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/factors.png`, fullPage: true });
  console.log("ok   sets up an authenticator app");

  await password();
  await page.getByLabel("Code of the app").waitFor();
  await page.getByLabel("or a recovery code").fill(codes[0]);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByText("Recovery codes left: 9.").waitFor();
  console.log("ok   logs in with a recovery code");

  await page.getByRole("button", { name: "Trust this device" }).click();
  await status("Trusted.");
  await password();
  await page.getByText("Recovery codes left: 9.").waitFor();
  await page.getByRole("button", { name: "New recovery codes" }).click();
  await status(/.+/); // a login on a trusted device changes no factor
  const stranger = await browser.newContext();
  const other = await stranger.newPage();
  await other.goto(`${base}/factors`);
  await other.getByLabel("E-mail").fill("admin@example.com");
  await other.getByLabel("Password").fill("admin123");
  await other.getByRole("button", { name: "Log in" }).click();
  await other.getByLabel("Code of the app").waitFor();
  console.log("ok   skips the factor on a trusted device, and on no other");
} finally {
  await browser.close();
}
