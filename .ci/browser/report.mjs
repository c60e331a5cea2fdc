// Opens a report of authkit contract in a real browser, on the screen of a telephone:
// node report.mjs FILE
//
// The page needs nothing else, fits the screen, and opens the evidence of an attack.
//
// playwright-core is found through NODE_PATH; see run. SCREENSHOTS=FOLDER keeps pictures.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const { chromium } = createRequire(import.meta.url)("playwright-core");

const file = process.argv[2];
assert.ok(file, "usage: node report.mjs FILE");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});
try {
  const context = await browser.newContext({ javaScriptEnabled: false, viewport: { width: 360, height: 640 } });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.on("request", (request) => assert.ok(request.url().startsWith("file:"), `the page asks for ${request.url()}`));
  await page.goto(`file://${resolve(file)}`);
  assert.ok((await page.locator("details").count()) > 150, "the attacks");
  const width = () => page.locator("html").evaluate((e) => e.scrollWidth);
  assert.ok((await width()) <= 360, "the page fits the screen");
  for (const attack of (await page.locator("details").all()).slice(0, 5)) {
    if ((await attack.getAttribute("open")) === null) await attack.locator("summary").click();
    assert.ok((await attack.innerText()).length > 40);
  }
  assert.ok((await width()) <= 360, "the page fits the screen with the details");
  if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/contract-report.png` });
  console.log("ok   the report of the attacks");
} finally {
  await browser.close();
}
