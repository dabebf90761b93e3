// Against the server at API, with the admin key KEY, and another one at OTHER_API;
// TestClientForTypeScript starts them and this.
import assert from "node:assert/strict";
import http from "node:http";
import net from "node:net";
import test from "node:test";

import { Client, ClosedError, FullError, ReceiptdError } from "../dist/index.js";

const { API, KEY, OTHER_API, OTHER_KEY } = process.env;
const soon = { first: 1 };

const nameOf = (t) => `acme/${t.name.replace(/\W+/g, "-")}`;

/** A client of an app of its own that has group receipts, with a group of n readers and a message. */
async function app(t, readers, options = {}) {
  const name = nameOf(t);
  const c = new Client({ url: API, token: KEY, app: name, retry: soon, ...options });
  const direct = new Client({ url: API, token: KEY, app: name });
  await direct.call("put", "/v1/apps/{org}/{app}", { body: { group_receipts: { enabled: true } } });
  const members = Array.from({ length: readers }, (_, i) => `r${i}`);
  const outcomes = await direct.apply([
    { type: "group.created", group: "team", owner: "ann", members },
    { type: "message.sent", id: "m1", from: "ann", group: "team", receipt: true },
  ]);
  assert.deepEqual(outcomes.map((o) => o.outcome), ["applied", "applied"]);
  const reads = async () => (await direct.call("get", "/v1/apps/{org}/{app}/messages/{id}", { path: { id: "m1" } })).read;
  return { c, direct, reads };
}

const read = (i) => ({ type: "message.read", message: "m1", user: `r${i}`, group: "team" });

/** Stands before the server: answer gets the request and what hands it on, and answers or, with undefined, cuts. */
async function proxy(t, answer) {
  const s = http.createServer(async (q, a) => {
    const parts = [];
    for await (const part of q) parts.push(part);
    const forward = async () => {
      const { host, connection, "transfer-encoding": _, "content-length": __, ...headers } = q.headers;
      const body = parts.length ? { body: Buffer.concat(parts) } : {};
      const r = await fetch(API + q.url, { method: q.method, headers, ...body });
      return { status: r.status, headers: { "Content-Type": r.headers.get("Content-Type") }, body: await r.text() };
    };
    const r = await answer(q, forward);
    if (!r) return q.socket.destroy();
    a.writeHead(r.status, r.headers).end(r.body);
  });
  await new Promise((done) => s.listen(0, "127.0.0.1", done));
  t.after(() => (s.closeAllConnections(), s.close()));
  return `http://127.0.0.1:${s.address().port}`;
}

/** Passes bytes on, and cuts connection n when cut(n) bytes of its answer have come. */
async function pipe(t, cut) {
  let connections = 0;
  const s = net.createServer((down) => {
    let left = cut(connections++);
    const up = net.connect(new URL(API).port, new URL(API).hostname);
    const end = () => (up.destroy(), down.destroy());
    for (const x of [up, down]) x.on("error", end).on("close", end);
    down.pipe(up);
    up.on("data", (data) => {
      if (data.length < left) {
        left -= data.length;
        down.write(data);
      } else {
        down.write(data.subarray(0, left), end);
      }
    });
  });
  await new Promise((done) => s.listen(0, "127.0.0.1", done));
  t.after(() => s.close());
  return { url: `http://127.0.0.1:${s.address().port}`, connections: () => connections };
}

test("lost answers count once", async (t) => {
  let n = 0;
  const url = await proxy(t, async (q, forward) => {
    const r = await forward();
    return ++n % 3 === 0 ? r : undefined;
  });
  const { c, reads } = await app(t, 60, { url });
  const batch = c.batch({ applied: true, events: 7 });
  const all = Array.from({ length: 60 }, (_, i) => batch.add(read(i)));
  await batch.close();
  // Without ids what is sent again would be a duplicate.
  for (const one of all) assert.deepEqual(await one, [{ index: 0, outcome: "applied" }]);
  assert.equal(await reads(), 60);
  assert.ok(n >= 27, `${n} requests`);
});

test("an unknown outcome is sent again", async (t) => {
  let n = 0;
  const url = await proxy(t, async (q, forward) => {
    const r = await forward();
    return ++n < 3 ? { status: 503, body: '{"error":{"code":"unknown_outcome","message":"it is not known"}}' } : r;
  });
  const { c } = await app(t, 1, { url });
  assert.equal((await c.apply([read(0)]))[0].outcome, "applied");
  assert.equal(n, 3);
});

for (const status of [429, 503]) {
  test(`retry after ${status}`, async (t) => {
    let first;
    let waited;
    const url = await proxy(t, async (q, forward) => {
      if (first === undefined) {
        first = performance.now();
        return { status, headers: { "Retry-After": "1" }, body: '{"error":{"code":"overloaded","message":"too much"}}' };
      }
      waited = performance.now() - first;
      return forward();
    });
    const { c } = await app(t, 1, { url });
    await c.send([read(0)]);
    assert.ok(waited >= 1000, `came back after ${waited} ms`);
  });
}

test("a slow server is asked again", async (t) => {
  let n = 0;
  const url = await proxy(t, async (q, forward) => {
    const r = await forward();
    return ++n === 1 ? new Promise(() => {}) : r;
  });
  const { c } = await app(t, 1, { url, retry: { first: 1, attempt: 1000 } });
  assert.equal((await c.apply([read(0)]))[0].outcome, "applied");
});

test("what cannot be reached by any try is refused at once", () => {
  for (const url of ["localhost:8080", "http://", "host/receipts"]) assert.throws(() => new Client({ url, app: "a/b", token: "k" }), /is none of a server/, url);
  for (const app of ["a", "a#b", "a/b/c", "/b"]) assert.throws(() => new Client({ app, token: "k" }), /is not ORG\/APP/, app);
  for (const url of ["", "/receipts", "http://localhost:8080/", "HTTPS://host/receipts"]) new Client({ url, app: "a/b", token: "k" });
});

test("refusals are typed", async (t) => {
  const { c } = await app(t, 1);
  await assert.rejects(c.send([read(0), { type: "message.read", message: "m1", group: "team" }]), (e) => {
    assert.ok(e instanceof ReceiptdError);
    assert.deepEqual([e.status, e.code, e.index, e.field, e.temporary], [400, "invalid_event", 1, "user", false]);
    return true;
  });
  const tired = new Client({ url: "http://127.0.0.1:1", app: "acme/chat", token: KEY, retry: { for: 0 } });
  await assert.rejects(tired.call("get", "/v1/apps/{org}/{app}"));
});

for (const door of ["batch", "stream"]) {
  test(`${door}: a malformed event fails alone`, async (t) => {
    const { c, reads } = await app(t, 3);
    const s = c[door]({ applied: true, delay: 3_600_000 });
    const good = s.add({ type: "message.read", messages: ["m1", "never"], user: "r0", group: "team", strict: true });
    const bad = s.add({ type: "message.read", message: "m1", group: "team" });
    const also = s.add(read(1));
    const wrong = (e) => e instanceof ReceiptdError && e.field === "user" && e.index === 0;
    await assert.rejects(s.flush(), wrong);
    await assert.rejects(bad, wrong);
    assert.deepEqual((await good).map((o) => [o.index, o.outcome]), [[0, "applied"], [1, "rejected"]]);
    assert.equal((await also)[0].outcome, "applied");
    await s.close();
    await assert.rejects(s.add(read(2)), ClosedError);
    assert.equal(await reads(), 2);
  });

  test(`${door}: what is not answered is bounded`, async (t) => {
    const url = await proxy(t, () => new Promise(() => {}));
    const { c } = await app(t, 9, { url });
    const s = c[door]({ events: 2, unanswered: 4 });
    const all = [0, 1, 2, 3].map((i) => s.add(read(i)));
    await assert.rejects(s.add(read(4)), FullError);
    let room = false;
    void s.room().then(() => (room = true));
    await assert.rejects(s.close(AbortSignal.timeout(50)), ClosedError);
    for (const one of all) await assert.rejects(one, ClosedError);
    assert.ok(room); // nobody is left waiting
  });
}

test("a broken stream goes on where it was", async (t) => {
  const { url, connections } = await pipe(t, (n) => (n % 3 === 1 ? 0 : n < 12 ? 300 + 150 * n : Infinity));
  const { c, direct } = await app(t, 100, { url });
  for (const applied of [true, false]) {
    const s = c.stream({ applied, unanswered: 40 });
    const all = [];
    for (let i = applied ? 0 : 50, n = 0; n < 50; i++, n++) {
      await s.room();
      all.push(s.add(read(i)));
    }
    await s.close();
    for (const one of all) assert.deepEqual((await one).map((o) => o.outcome), applied ? ["applied"] : []);
  }
  const { readers } = await direct.call("get", "/v1/apps/{org}/{app}/messages/{id}/readers", { path: { id: "m1" }, query: { limit: 1000 } });
  assert.deepEqual(readers.map((r) => r.user), Array.from({ length: 100 }, (_, i) => `r${i}`));
  assert.ok(connections() >= 6, `${connections()} connections`);
});

test("following goes on after a broken connection", async (t) => {
  const { url, connections } = await pipe(t, (n) => (n < 4 ? 600 + 200 * n : Infinity));
  const { direct } = await app(t, 40);
  const { token } = await direct.call("post", "/v1/apps/{org}/{app}/users/{user}/tokens", { path: { user: "ann" }, body: {} });
  const ann = new Client({ url, app: nameOf(t), token, user: "ann", retry: soon });
  await direct.send([read(0)]);
  let count = 0;
  for await (const e of ann.follow("ann")) {
    const was = count;
    if (e.event === "read") count = Math.max(count, e.data.count);
    else if (e.event === "statistic") count = Math.max(count, ...e.data.group_ack.map((x) => x.count));
    else assert.fail(JSON.stringify(e));
    if (count === 40) break;
    if (count > was) await direct.send([read(count)]);
  }
  assert.equal(count, 40);
  assert.ok(connections() >= 4, `${connections()} connections`);
});

test("following begins at an id, and an id of another log is told", async (t) => {
  const { c } = await app(t, 2);
  await c.apply([read(0)]);
  let id;
  for await (const e of c.follow("ann")) {
    assert.equal(e.event, "statistic");
    id = e.id;
    break;
  }
  await c.apply([read(1)]);
  for await (const e of c.follow("ann", { last: id })) {
    assert.equal(e.data.group_ack[0].count, 2);
    break;
  }
  const other = new Client({ url: OTHER_API, token: OTHER_KEY, app: nameOf(t) });
  await other.call("put", "/v1/apps/{org}/{app}", { body: {} });
  for await (const e of other.follow("ann", { last: id })) {
    assert.equal(e.event, "resync");
    break;
  }
});

test("following ends with its signal and with an error", async (t) => {
  const { c } = await app(t, 1);
  await assert.rejects(async () => {
    for await (const e of c.follow("ann", { signal: AbortSignal.timeout(50) })) assert.fail(JSON.stringify(e));
  }, { name: "TimeoutError" });
  const wrong = new Client({ url: API, app: "acme/chat", token: "wrong" });
  await assert.rejects(async () => {
    for await (const e of wrong.follow("ann")) assert.fail(JSON.stringify(e));
  }, (e) => e.code === "unauthorized");
});

test("a token is asked for again", async (t) => {
  const asked = [];
  const { direct } = await app(t, 1);
  const c = new Client({
    url: API, app: nameOf(t), user: "r0",
    token: async (refused) => {
      asked.push(refused);
      if (refused === undefined) return "no token at all";
      return (await direct.call("post", "/v1/apps/{org}/{app}/users/{user}/tokens", { path: { user: "r0" }, body: {} })).token;
    },
  });
  const batch = c.batch({ applied: true });
  const one = batch.add({ type: "message.read", message: "m1", group: "team" });
  await batch.close();
  assert.equal((await one)[0].outcome, "applied");
  assert.deepEqual(asked, [undefined, "no token at all"]);
});

test("positions move up within a log", async (t) => {
  const sent = [];
  let tell;
  const url = await proxy(t, async (q, forward) => {
    sent.push(q.headers["receiptd-position"]);
    delete q.headers["receiptd-position"]; // the server behind has another log, and would refuse it
    const r = await forward();
    return { ...r, headers: { ...r.headers, ...tell } };
  });
  const { c } = await app(t, 1, { url });
  for (const [position, log] of [["0:12,1:44", "00000000000000aa"], ["0:11,1:45", "00000000000000aa"], ["0:1", "00000000000000bb"]]) {
    tell = { "Receiptd-Position": position, "Receiptd-Log": log };
    await c.call("get", "/v1/apps").catch(() => {});
  }
  assert.deepEqual(sent.slice(0, 3), [undefined, "0:12,1:44@00000000000000aa", "0:12,1:45@00000000000000aa"]);
  assert.equal(c.position, "0:1@00000000000000bb");
});

test("what is imported happened when it says", async (t) => {
  const c = new Client({ url: API, token: KEY, app: nameOf(t) });
  await c.call("put", "/v1/apps/{org}/{app}", { body: { group_receipts: { enabled: true } } });
  const at = (minute) => `2021-05-01T08:0${minute}:00.000Z`;
  const message = { type: "message.sent", id: "m1", from: "ann", group: "team", receipt: true, time: at(1) };
  const outcomes = await c.importEvents([
    { type: "group.created", group: "team", owner: "ann", members: ["r0"], time: at(0) },
    message,
    { ...read(0), time: Date.parse(at(2)) },
    { ...message, id: "m2" },
  ]);
  assert.deepEqual(outcomes.map((o) => [o.index, o.outcome, o.code]), [[0, "applied", undefined], [1, "applied", undefined], [2, "applied", undefined], [3, "rejected", 409]]);
  const m = await c.call("get", "/v1/apps/{org}/{app}/messages/{id}", { path: { id: "m1" } });
  assert.deepEqual([m.read, m.sent_at, m.first_read_at], [1, at(1), at(2)]);
  await assert.rejects(c.importEvents([message, { ...message, time: undefined }]), (e) => e instanceof ReceiptdError && e.index === 1 && e.field === "time");
  assert.deepEqual(await c.importEvents([]), []);
  const user = new Client({ url: API, token: "no key", app: nameOf(t) });
  await assert.rejects(user.importEvents([message]), (e) => e.code === "unauthorized");
});

test("alerts are followed as messages are", async (t) => {
  const { c } = await app(t, 1);
  await assert.rejects(async () => {
    for await (const e of c.followAlerts({ last: "of something else" })) assert.fail(JSON.stringify(e));
  }, (e) => e.code === "invalid_cursor");
  const asked = [];
  const url = await proxy(t, async (q) => {
    const n = asked.push(`${q.url} ${q.headers["last-event-id"]}`);
    return { status: 200, headers: { "Content-Type": "text/event-stream" }, body: `event: alert\nid: a${n}\ndata: {"subject":"g${n}"}\n\n` };
  });
  const alerts = new Client({ url, token: KEY, app: "acme/chat", retry: soon });
  const subjects = [];
  for await (const e of alerts.followAlerts({ last: "a0" })) {
    if (subjects.push(e.data.subject) === 3) break;
  }
  assert.deepEqual(subjects, ["g1", "g2", "g3"]);
  assert.deepEqual(asked, [0, 1, 2].map((n) => `/v1/apps/acme/chat/alerts/stream a${n}`));
});
