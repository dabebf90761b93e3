// Does to the page of a running receiptd what a hostile page elsewhere and a user with hostile
// names do, in a real browser, and fails if any of it works. The Go test that starts it says by the
// environment where the server is and which names are in it.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const { BASE, KEY, APP, NAMES, CHROMIUM } = process.env;
const names = JSON.parse(NAMES);

// What the page elsewhere serves; localhost is another site than the server's address.
let evil = "";
const elsewhere = createServer((_, res) => res.setHeader("Content-Type", "text/html").end(evil)).listen(0, "127.0.0.1");
await new Promise(done => elsewhere.once("listening", done));
const EVIL = `http://localhost:${elsewhere.address().port}`;

const browser = await chromium.launch({
  executablePath: CHROMIUM, timeout: 120_000,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const context = await browser.newContext({ baseURL: BASE });
context.setDefaultTimeout(120_000);
const page = await context.newPage();
page.on("dialog", () => assert.fail("a dialog was opened"));

const session = async () => (await context.cookies(BASE)).find(c => c.value !== "" && c.httpOnly);
async function signIn() {
  await page.goto(`/?app=${APP}`);
  await page.getByLabel("Admin key").fill(KEY);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForLoadState();
}
async function attack(html) {
  evil = `<!doctype html><meta charset=utf-8>${html}`;
  await page.goto(EVIL);
}

// Signing in by a form of another site, with the right key: the victim would work in somebody
// else's session.
await attack(`<form method=post action="${BASE}/"><input name=do value=sign-in><input name=key value="${KEY}"></form><script>document.forms[0].submit()</script>`);
await page.waitForURL(`${BASE}/`);
assert.equal(await session(), undefined, "a form of another site signs in");

// A session that the attacker chose is none before signing in, and not the one after it.
await signIn();
const { name, value } = await session();
await context.clearCookies();
const chosen = "chosen-by-somebody-else-chosen-by-somebody";
await context.addCookies([{ name, value: chosen, url: BASE }]);
assert.equal((await page.goto(`/?app=${APP}`)).status() < 500 && await page.getByLabel("Admin key").count(), 1, "a made-up session is one");
await signIn();
const cookie = await session();
assert.notEqual(cookie.value, chosen, "the session is the one that was there before");
assert.notEqual(cookie.value, value, "two sessions are one");
assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Strict"]);
assert.equal(await page.evaluate(() => document.cookie), "", "scripts see the cookie");

// A frame shows nothing to click on, whoever is signed in.
await attack(`<iframe src="${BASE}/?app=${APP}"></iframe><iframe sandbox="allow-scripts" src="${BASE}/"></iframe>`);
for (const frame of page.frames().slice(1)) {
  assert.equal(await frame.locator("main, h1, form").filter({ hasText: /receiptd|Live|Sign/ }).count(), 0, "the page shows in a frame");
}

// Signing out by a form of another site.
await attack(`<form method=post action="${BASE}/"><input name=do value=sign-out></form><script>document.forms[0].submit()</script>`);
await page.waitForURL(`${BASE}/`);
assert.equal((await session())?.value, cookie.value, "a form of another site signs out");

// A script elsewhere reads nothing, with the cookie or without it, and a window that it opened
// neither.
await attack("");
const read = await page.evaluate(async ([base, app]) => {
  const got = [];
  for (const path of [`/?app=${app}`, "/v1/status", "/metrics"]) {
    for (const credentials of ["include", "omit"]) {
      try { got.push(await (await fetch(base + path, { credentials })).text()); } catch { /* as it should be */ }
    }
  }
  return got;
}, [BASE, APP]);
assert.deepEqual(read, [], "a page elsewhere reads the server's answers");

// Wherever a form says it was, signing in leads back to this server.
for (const where of ["/?app=//evil.example/", `/?app=${APP}&next=//evil.example`, "/?//evil.example", "/?app=%0d%0aLocation:%20//evil.example"]) {
  const answer = await context.request.post(where, { form: { do: "sign-in", key: KEY }, maxRedirects: 0 });
  const location = answer.headers().location;
  assert.equal(new URL(location, BASE + where).origin, BASE, `${where} leads to ${location}`);
}

// The policy is enforced: what got into the page all the same could run nothing and ask nobody.
await page.goto(`/?app=${APP}`);
const broken = await page.evaluate(async evil => {
  const violated = [];
  document.addEventListener("securitypolicyviolation", e => violated.push(e.effectiveDirective));
  const put = (tag, set) => document.body.appendChild(Object.assign(document.createElement(tag), set));
  put("script", { textContent: "window.ran = 1" });
  put("img", { src: evil + "/leak" });
  put("iframe", { src: evil });
  put("form", { action: evil, method: "post" }).submit();
  try { await fetch(evil); } catch { /* as it should be */ }
  document.body.insertAdjacentHTML("beforeend", "<b onclick='window.ran = 2'>x</b>");
  document.querySelector("b[onclick]").click();
  await new Promise(done => setTimeout(done, 1000));
  return { ran: window.ran, violated: [...new Set(violated)].sort(), at: location.origin };
}, EVIL).catch(e => ({ failed: String(e) }));
assert.equal(broken.ran, undefined, "a script in the page runs");
for (const directive of ["script-src-elem", "script-src-attr", "img-src", "frame-src", "form-action", "connect-src"]) {
  assert.ok(broken.violated?.includes(directive), `${directive} is not enforced: ${JSON.stringify(broken)}`);
}

// Hostile names are text in every view that has them, and take no room that is not theirs.
await page.setViewportSize({ width: 390, height: 800 });
for (const id of names) {
  for (const view of ["group", "user", "find", "message", "overview"]) {
    const query = new URLSearchParams({ app: APP, view, group: id, user: id, q: id, id, sender: id });
    const answer = await page.goto(`/?${query}`);
    assert.ok(answer.status() < 500, `${view} of ${id}: ${answer.status()}`);
    const seen = await page.evaluate(() => ({
      ran: window.pwned, polluted: {}.polluted, loaded: document.querySelectorAll("img, iframe, object").length,
      over: document.documentElement.scrollWidth - innerWidth,
    }));
    assert.deepEqual({ ...seen, over: Math.max(seen.over, 0) }, { ran: undefined, polluted: undefined, loaded: 0, over: 0 }, `${view} of ${id}`);
  }
  await page.goto(`/?${new URLSearchParams({ app: APP, view: "group", group: id })}`);
  assert.equal(await page.locator("h1 bdi").first().textContent(), id, "an id is shown as it is");
}

// What was seen is not there any more after signing out, not even by the way back.
await page.goto(`/?${new URLSearchParams({ app: APP, view: "group", group: names[0] })}`);
await page.getByRole("button", { name: "Sign out" }).click();
await page.waitForLoadState();
await page.goBack();
assert.equal(await page.locator("h1 bdi").count(), 0, "the way back shows what was seen");

await browser.close();
elsewhere.close();
