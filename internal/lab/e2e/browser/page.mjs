// Drives the page of a running receiptd as a person does, in each width and scheme, and says what
// is wrong by failing. The Go test that starts it says by the environment where the server is and
// what is in it.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const { BASE, KEY, APP, EMPTY_APP, MESSAGE, GROUP, CHROMIUM, SHOTS } = process.env;
const axe = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const patience = 120_000; // the machine may be busy with the other tests
if (SHOTS) mkdirSync(SHOTS, { recursive: true });

const browser = await chromium.launch({
  executablePath: CHROMIUM, timeout: patience,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

// visit opens a browser of one kind, and fails if the page logs an error, breaks its policy or asks
// another host.
async function visit(name, options, body) {
  const context = await browser.newContext({ ...options, baseURL: BASE });
  context.setDefaultTimeout(patience);
  const wrong = [];
  const page = await context.newPage();
  let refusals = 0; // pages that are refused on purpose, which the browser logs as errors
  page.on("console", m => {
    if (m.type() !== "error" && m.type() !== "warning") return;
    if (refusals > 0 && /status of 40[0134]/.test(m.text())) refusals--;
    else wrong.push(`${m.type()}: ${m.text()}`);
  });
  page.on("pageerror", e => wrong.push(`error: ${e.stack}`));
  page.on("request", r => { if (new URL(r.url()).origin !== BASE) wrong.push(`asked ${r.url()}`); });
  page.on("requestfailed", r => { if (r.failure().errorText !== "net::ERR_ABORTED") wrong.push(`${r.url()}: ${r.failure().errorText}`); });
  try {
    await body(page, { refused: () => refusals++ });
    assert.deepEqual(wrong, [], `${name}: what the browser complained about`);
  } catch (e) {
    if (SHOTS) await page.screenshot({ path: `${SHOTS}/${name}-failed.png`, fullPage: true });
    e.message = `${name}, at ${page.url()}: ${e.message}`;
    throw e;
  } finally {
    await context.close();
  }
}

// look checks what holds for every view: its title, its width, its accessibility. The latter does
// not change with width and scheme at the same time, so two of the four kinds of screen show all
// there is to it.
async function look(page, name, heading) {
  await page.getByRole("heading", { level: 1, name: heading }).waitFor();
  await page.waitForLoadState(); // a heading may be there before the style is
  const { over, tall, broken, cut } = await page.evaluate(() => ({
    over: document.documentElement.scrollWidth - innerWidth,
    broken: [...document.querySelectorAll("thead th:not(:has(*))")].flatMap(th => [...th.textContent.matchAll(/[^\s/]+/g)].filter(word => {
      const range = document.createRange();
      range.setStart(th.firstChild, word.index);
      range.setEnd(th.firstChild, word.index + word[0].length);
      return new Set([...range.getClientRects()].map(r => r.top)).size > 1;
    })).map(String),
    cut: [...document.querySelectorAll(".tiles dd")].filter(dd => dd.scrollWidth > dd.clientWidth).map(dd => dd.textContent),
    tall: [...document.querySelectorAll("svg.chart")].filter(c => c.checkVisibility()).length,
  }));
  assert.ok(over <= 0, `${name} is ${over} pixels wider than the screen`);
  assert.deepEqual(broken, [], `${name}: words of heads on two lines`);
  assert.deepEqual(cut, [], `${name}: tiles that are cut off`);
  const figures = await page.locator("figure").count();
  assert.equal(tall, figures, `${name}: each figure shows one drawing`);
  if (SHOTS) await page.screenshot({ path: `${SHOTS}/${name}.png`, fullPage: true });
  if (!/^(desktop-light|phone-dark)/.test(name)) return;
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  assert.deepEqual(violations.map(v => `${v.id}: ${v.help}: ${v.nodes.map(n => n.html).join(" ")}`), [], `${name}: accessibility`);
}

async function signIn(page, key) {
  await page.getByLabel("Admin key").fill(key);
  await page.keyboard.press("Enter");
}

// day is the date some days from now, in UTC. The one in two days has begun nowhere: spans of other
// time zones that end with it have in them what is sent now.
const day = days => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);

const tile = (page, name) => page.locator("dl div", { has: page.locator("dt", { hasText: name }) }).locator("dd");

// everyView clicks through all that there is.
async function everyView(name, page, expect) {
  await page.goto("/");
  await look(page, `${name}-0-start`, "Live");
  assert.equal(await page.getByText(APP).count(), 0, "an app is named to somebody who has not signed in");
  expect.refused();
  await signIn(page, KEY.slice(1));
  await page.getByRole("alert").filter({ hasText: "not the admin key" }).waitFor();
  await signIn(page, KEY);
  await page.getByRole("link", { name: APP }).waitFor();
  await look(page, `${name}-1-live`, "Live");

  await page.getByRole("link", { name: APP }).click();
  await look(page, `${name}-2-overview`, "Overview");
  assert.match(await tile(page, "Read").last().innerText(), /\d/);
  assert.ok(await page.locator("figure").count() >= 5, "the overview lacks figures");
  const funnel = page.locator("#funnel");
  await funnel.getByText("The numbers").click();
  assert.equal(await funnel.locator("tbody tr").count(), 3);
  for (const span of ["7 days", "30 days"]) {
    await page.getByRole("navigation", { name: "Span of time" }).getByRole("link", { name: span }).click();
    await page.locator(`nav a[aria-current=true]:text-is("${span}")`).waitFor();
    await look(page, `${name}-3-overview-${span.replace(" ", "-")}`, "Overview");
  }

  const views = page.getByRole("navigation", { name: "Views" });
  for (const [view, order] of [["Groups", "Lowest read rate"], ["Senders", "Highest read rate"], ["Labels", "Most not read"]]) {
    const tab = views.getByRole("link", { name: view });
    assert.ok(await tab.evaluate(e => { const box = e.getBoundingClientRect(); return box.left >= 0 && box.right <= innerWidth; }), `the tab ${view} is out of sight`);
    await tab.click();
    await look(page, `${name}-4-${view.toLowerCase()}`, view);
    await page.getByRole("link", { name: order }).click();
    await page.locator("caption", { hasText: order }).waitFor();
  }
  await views.getByRole("link", { name: "Groups" }).click();
  await page.locator("tbody th a").first().click();
  await page.getByRole("list", { name: "Narrowed to" }).waitFor();
  await look(page, `${name}-5-group`, "Overview");
  await page.getByRole("link", { name: "Show all groups again" }).click();
  await page.getByRole("list", { name: "Narrowed to" }).waitFor({ state: "detached" });

  await page.locator("details.filter summary").click();
  await page.getByLabel("From", { exact: true }).fill("2026-02-10");
  await page.getByLabel("To, not included").fill(day(2));
  await page.getByLabel("Time zone", { exact: true }).fill("Asia/Kolkata");
  await page.getByLabel("Compare with the span before").check();
  await page.getByRole("button", { name: "Count" }).click();
  await page.locator("summary", { hasText: "Asia/Kolkata" }).waitFor();
  await look(page, `${name}-5-span`, "Overview");
  assert.match(await page.locator("#tiles").innerText(), /before: 0/);
  await page.getByLabel("From", { exact: true }).fill(day(3));
  expect.refused();
  await page.getByRole("button", { name: "Count" }).click();
  await page.getByRole("alert").filter({ hasText: "ends before it begins" }).waitFor();
  await look(page, `${name}-5-refused`, "This cannot be counted");
  await page.goBack();

  const find = page.getByLabel("Find a message, group or user by id");
  await find.fill("nowhere");
  await page.getByRole("button", { name: "Find", exact: true }).click();
  await page.getByRole("alert").filter({ hasText: "No message, group or user" }).waitFor();
  await look(page, `${name}-6-find`, "Find");
  await page.getByLabel("Id of a message").fill(GROUP);
  await page.keyboard.press("Enter");
  await look(page, `${name}-6-group`, "Group");
  await page.getByRole("link", { name: MESSAGE }).click();
  await page.getByRole("heading", { name: "Have read", exact: true }).waitFor();
  await look(page, `${name}-7-message`, "Message");
  assert.equal(await tile(page, "Recipients").innerText(), "129");
  for (const first of ["51", "101"]) {
    await page.getByRole("link", { name: "More readers" }).click();
    await page.getByRole("row", { name: new RegExp(`^${first} `) }).waitFor();
  }
  await page.getByRole("row", { name: /^105 / }).waitFor();
  assert.equal(await page.locator("#nonreaders-list li").count(), 24);
  await page.locator("#nonreaders-list a").first().click();
  await page.getByRole("heading", { name: "Not read" }).waitFor();
  await look(page, `${name}-7-nonreader`, "User");
  await page.getByRole("link", { name: MESSAGE }).waitFor();
  await page.getByRole("navigation", { name: "Messages" }).getByRole("link", { name: "Read", exact: true }).click();
  await page.getByText("Nothing was read one by one").waitFor();
  await find.fill("page-author");
  await page.keyboard.press("Enter");
  await page.getByRole("navigation", { name: "Messages" }).getByRole("link", { name: "Sent" }).click();
  await page.getByRole("link", { name: MESSAGE }).waitFor();
  await look(page, `${name}-7-sender`, "User");

  await page.getByLabel("App", { exact: true }).selectOption(EMPTY_APP);
  await page.getByRole("button", { name: "Show" }).click();
  await views.getByRole("link", { name: "Overview" }).click();
  await look(page, `${name}-8-empty`, "Overview");
  assert.match(await page.locator("pre").innerText(), new RegExp(`${BASE}/v1/apps/${EMPTY_APP}`));
  expect.refused();
  await page.goto("/?app=acme/none");
  await look(page, `${name}-9-none`, "No such app");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Admin key").waitFor();
  expect.refused();
  await page.goto(`/?app=${APP}`);
  await page.getByLabel("Admin key").waitFor();
}

const screens = { desktop: { width: 1280, height: 900 }, phone: { width: 360, height: 740 } };
for (const [screen, viewport] of Object.entries(screens)) {
  for (const colorScheme of ["light", "dark"]) {
    const name = `${screen}-${colorScheme}`;
    await visit(name, { viewport, colorScheme }, (page, expect) => everyView(name, page, expect));
  }
}

await visit("files", { viewport: screens.desktop }, async page => {
  await page.goto("/");
  await signIn(page, KEY);
  await page.getByRole("link", { name: APP }).waitFor();
  const span = `&from=${day(-1)}&to=${day(2)}&tz=Asia/Tokyo`;
  const both = async (view, query) => {
    const file = await page.request.get(`/?app=${APP}&format=csv&${view}${span}`);
    const api = await fetch(`${BASE}/v1/apps/${APP}/analytics/read-rate?limit=100000&${query}${span}`, { headers: { Authorization: `Bearer ${KEY}`, Accept: "text/csv" } });
    return [await file.text(), await api.text()];
  };
  for (const [view, query] of [
    ["view=groups", "group_by=group"], ["view=senders&order=worst", "group_by=sender&sort=read_rate&order=asc&min_messages=1"],
    ["view=labels&compare=previous", "group_by=label&compare=previous"], ["view=overview", "group_by=hour"],
  ]) {
    // What is read meanwhile makes the answers differ for a moment.
    let [file, api] = await both(view, query);
    for (let tries = 0; file !== api && tries < 20; tries++) [file, api] = await both(view, query);
    assert.equal(file, api, `${view}: the file is not what the API gives`);
    assert.ok(file.split("\r\n").length > 2, `${view}: nothing in the file`);
  }
  await page.goto(`/?app=${APP}${span}`);
  const total = await fetch(`${BASE}/v1/apps/${APP}/analytics/read-rate?group_by=app${span}`, { headers: { Authorization: `Bearer ${KEY}` } });
  const { messages, eligible } = (await total.json()).rows[0];
  const digits = text => text.replace(/\D/g, "");
  assert.equal(digits(await tile(page, "Messages").innerText()), String(messages));
  assert.equal(digits(await tile(page, "Recipients").first().innerText()), String(eligible));
  const place = () => page.locator("#distribution-drawing").evaluate(e => e.getBoundingClientRect().top - e.closest("figure").getBoundingClientRect().top);
  const before = await place();
  await page.locator("#rate summary").click();
  assert.ok(await page.locator("#rate details").evaluate(d => d.open));
  assert.equal(await place(), before, "the numbers of a chart push its neighbour away");
});

await visit("refresh", { viewport: screens.desktop }, async page => {
  await page.goto("/");
  await signIn(page, KEY);
  await page.getByRole("link", { name: APP }).waitFor();
  const events = tile(page, "Events over HTTP");
  const before = await events.innerText();
  await page.locator("#throughput summary").click();
  await page.evaluate(() => { globalThis.stayed = true; });
  const height = await page.evaluate(() => document.getElementById("tiles").offsetHeight + document.getElementById("throughput-drawing").offsetHeight);
  await page.waitForFunction(text => !document.getElementById("tiles").innerText.includes(text), before);
  assert.ok(await page.evaluate(() => globalThis.stayed), "the page was loaded anew");
  assert.ok(await page.locator("#throughput details").evaluate(d => d.open), "what was open is closed");
  assert.equal(await page.evaluate(() => document.getElementById("tiles").offsetHeight + document.getElementById("throughput-drawing").offsetHeight), height, "the layout jumped");
});

await visit("keyboard", { viewport: screens.phone }, async page => {
  await page.goto("/");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  await page.keyboard.press("Enter");
  for (let i = 0; i < 3 && !await page.getByLabel("Admin key").evaluate(e => e === document.activeElement); i++) await page.keyboard.press("Tab");
  await page.keyboard.type(KEY);
  await page.keyboard.press("Enter");
  const link = page.getByRole("link", { name: APP });
  await link.waitFor();
  for (let i = 0; i < 30 && !await link.evaluate(e => e === document.activeElement); i++) {
    await page.keyboard.press("Tab");
    const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(ring, "none", "what has the focus does not show it");
  }
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
});

await visit("without script", { viewport: screens.desktop, javaScriptEnabled: false }, async page => {
  await page.goto("/");
  await signIn(page, KEY);
  await page.getByRole("link", { name: APP }).click();
  await page.locator("#funnel svg.broad").waitFor(); // the others are there too until the style is
  await page.goto(`/?app=${APP}&group=${GROUP}`);
  await page.getByRole("heading", { name: "From sent to read" }).waitFor();
  await page.goto(`/?app=${APP}&view=message&id=${MESSAGE}`);
  await page.getByText("105, in the order of reading").waitFor();
  await page.locator("#nonreaders-list a").first().click();
  await page.getByRole("link", { name: MESSAGE }).waitFor();
  await page.getByLabel("Find a message, group or user by id").fill(GROUP);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Members" }).waitFor();
  await page.goto(`/?app=${APP}`);
  await page.locator("details.filter summary").click();
  await page.getByLabel("From", { exact: true }).fill(day(-3));
  await page.getByRole("button", { name: "Count" }).click();
  await page.waitForURL(/from=/);
});

await browser.close();
