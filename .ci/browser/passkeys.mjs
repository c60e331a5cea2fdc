// Drives the demo's page for passkeys in a real browser: node passkeys.mjs BASE_URL
//
// Chromium's own WebAuthn code answers, with a virtual authenticator of the DevTools protocol.
// It registers a passkey, logs in without a name and by the form's autofill, as a second factor,
// refuses user verification, flips the flag BE in both directions, and logs in with a deleted
// passkey, which the page then signals to the authenticator.
//
// playwright-core is found through NODE_PATH; see run.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { chromium } = createRequire(import.meta.url)("playwright-core");

assert.ok(process.argv[2], "usage: node passkeys.mjs BASE_URL");
const base = process.argv[2].replace("127.0.0.1", "localhost"); // browsers have no passkeys for addresses
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});
try {
  const context = await browser.newContext();
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.on("pageerror", (error) => assert.fail(`error: ${error}`));
  const devtools = await context.newCDPSession(page);
  await devtools.send("WebAuthn.enable", { enableUI: false });
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2", ctap2Version: "ctap2_1", transport: "internal", hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true, defaultBackupEligibility: false, defaultBackupState: false,
    },
  });
  const set = (method, values) => devtools.send(`WebAuthn.${method}`, { authenticatorId, ...values });
  const credentials = async () => (await devtools.send("WebAuthn.getCredentials", { authenticatorId })).credentials;
  const status = (text) => page.getByRole("status").filter({ hasText: text }).waitFor();
  const item = page.getByRole("listitem");

  // open loads the page, without the request of its autofill unless that is wanted: the virtual
  // authenticator would answer it at once.
  let autofill = false;
  await page.exposeFunction("wantsAutofill", () => autofill);
  await page.addInitScript(() => {
    PublicKeyCredential.isConditionalMediationAvailable = () => window.wantsAutofill();
  });
  const open = async (conditional = false) => {
    autofill = conditional;
    await page.goto(`${base}/passkey`);
  };
  const password = async () => {
    await page.getByLabel("E-mail").fill("user@example.com");
    await page.getByLabel("Password").fill("user123");
    await page.getByRole("button", { name: "Log in", exact: true }).click();
  };
  const passkey = () => page.getByRole("button", { name: "Log in with a passkey" }).click();

  await open();
  await password();
  await status("Logged in.");
  assert.equal(await item.count(), 0);
  await set("setUserVerified", { isUserVerified: false });
  await page.getByRole("button", { name: "Add a passkey" }).click();
  await status(/.+/);
  assert.equal((await credentials()).length, 0, "a registration without user verification");
  await set("setUserVerified", { isUserVerified: true });
  await page.getByRole("button", { name: "Add a passkey" }).click();
  await status("Added.");
  await item.filter({ hasText: "never used" }).waitFor();
  const [registered] = await credentials();
  assert.equal(registered.rpId, "localhost");
  assert.equal(registered.isResidentCredential, true);
  assert.equal(Buffer.from(registered.userHandle, "base64").length, 64);
  await page.getByRole("button", { name: "Add a passkey" }).click();
  await status(/.+/);
  assert.equal((await credentials()).length, 1, "an authenticator that has a passkey is excluded");
  page.once("dialog", (dialog) => dialog.accept("My key"));
  await page.getByRole("button", { name: "Rename" }).click();
  await item.filter({ hasText: "My key" }).waitFor();
  console.log("ok   registers and renames a passkey");

  await open();
  await passkey();
  await status("Logged in.");
  await item.filter({ hasText: "My key, last used" }).waitFor();
  console.log("ok   logs in without a name");

  await open(true);
  await status("Logged in.");
  console.log("ok   logs in by the autofill of the form");

  await open();
  await password();
  await status("Logged in.");
  assert.equal((await credentials())[0].signCount, 4, "the login with the password used the passkey too");
  console.log("ok   answers a second factor");

  await open();
  await set("setUserVerified", { isUserVerified: false });
  await passkey();
  await status(/.+/);
  await page.getByLabel("E-mail").waitFor();
  await set("setUserVerified", { isUserVerified: true });
  console.log("ok   refuses a login without user verification");

  // A sync provider makes a passkey eligible for backup. The way back is refused.
  const flags = (backupEligibility, backupState) =>
    set("setCredentialProperties", { credentialId: registered.credentialId, backupEligibility, backupState });
  await flags(true, true);
  for (const time of ["first", "second"]) {
    await open();
    await passkey();
    await status("Logged in.").catch(() => assert.fail(`the ${time} login with a synced passkey`));
  }
  await flags(false, false);
  await open();
  await passkey();
  await status("The passkey was not accepted");
  await flags(true, false);
  await open();
  await passkey();
  await status("Logged in.");
  console.log("ok   follows the flag of backup eligibility in one direction");

  // The page tells the authenticator of the deletion, which forgets the passkey.
  const [kept] = await credentials();
  await page.getByRole("button", { name: "Delete" }).click();
  await item.waitFor({ state: "detached" });
  await assertSoon(async () => (await credentials()).length === 0, "signalAllAcceptedCredentials");
  await set("addCredential", { credential: { ...kept, privateKey: kept.privateKey } }); // as if it was offline
  await open();
  await passkey();
  await status("The passkey was not accepted");
  await assertSoon(async () => (await credentials()).length === 0, "signalUnknownCredential");
  console.log("ok   signals a deleted passkey to the authenticator");
} finally {
  await browser.close();
}

// assertSoon waits until a condition holds.
async function assertSoon(condition, message) {
  for (let i = 0; i < 100; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail(message);
}
