// A chat user with the real SDK, and the server's own API beside it.
import assert from 'node:assert/strict'
import { sdk } from './sdk.mjs'

// The addresses of the server, or of several nodes, which take turns.
const servers = process.env.RECEIPTD_URL.split(',')
const adminKey = process.env.RECEIPTD_KEY
const control = process.env.RECEIPTD_CONTROL // of the Go test: restarts and kills the server

// nodes is how many there are.
export const nodes = servers.length

let turn = 0
const server = () => servers[turn++ % nodes]

// address is what the SDK is told of the next server.
export function address () {
  const apiUrl = server()
  return { isHttpDNS: false, url: apiUrl.replace('http', 'ws') + '/websocket', apiUrl }
}

export const appKey = 'acme#chat'
const org = '/acme/chat'

// patience bounds every wait, on a machine that does other things too.
const patience = 120_000

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

// until waits for what others do: it returns what holds() returns, once that is something.
export async function until (what, holds, within = patience) {
  const deadline = Date.now() + within
  for (;;) {
    const value = await holds()
    if (value) return value
    if (Date.now() > deadline) assert.fail(`it never came to be that ${what}`)
    await sleep(10)
  }
}

// call asks the server, with the admin key unless another token is given; an answer other than 200
// is an error with its status. What is read of several nodes has what was done at the others: the
// SDK gets no positions that could be passed on.
export async function call (method, path, body, token = adminKey, to = server()) {
  const reads = method === 'GET' || path.endsWith(':counts')
  const answer = await fetch(to + path + (reads && nodes > 1 ? '?consistency=strong' : ''), {
    method,
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body)
  })
  const text = await answer.text()
  if (answer.status !== 200) throw Object.assign(new Error(`${method} ${path}: ${answer.status} ${text}`), { status: answer.status })
  return JSON.parse(text)
}

const v1 = '/v1/apps' + org

// caughtUp waits until the node at an address has what was done at the others: what an author is
// told in a summary at the login would be told live where that comes first.
export async function caughtUp (at) {
  if (nodes > 1) await call('GET', v1, undefined, adminKey, at.apiUrl)
}

export const api = {
  configure: settings => call('PUT', v1, settings),
  events: list => call('POST', v1 + '/events?wait=applied', list),
  message: id => call('GET', `${v1}/messages/${id}`),
  counts: async ids => (await call('POST', v1 + '/messages:counts', { ids })).counts,
  readers: async id => (await call('GET', `${v1}/messages/${id}/readers`)).readers,
  nonreaders: async id => (await call('GET', `${v1}/messages/${id}/nonreaders`)).users,
  unread: async (user, where) => {
    const { conversations } = await call('GET', `${v1}/users/${user}/conversations`)
    return conversations.find(c => c.group === where || c.peer === where)?.unread
  },
  rejections: async () => (await call('GET', v1 + '/rejections')).rejections,
  statistics: user => call('GET', `${v1}/users/${user}/statistics`),
  token: async user => (await call('POST', `${v1}/users/${user}/tokens`, {})).token,
  register: (username, password) => call('POST', org + '/users', { username, password }),
  // group makes a group without the SDK.
  group: async (group, owner, members, admins) => {
    const { outcomes } = await api.events([{ type: 'group.created', group, owner, members, admins }])
    assert.equal(outcomes[0].outcome, 'applied')
    return group
  }
}

// restart has the server, or the next node, stopped (TERM, which drains it) or killed (KILL), and
// started again on the same data and address. The answer comes once all are ready.
export async function restart (signal) {
  const answer = await fetch(`${control}/restart?signal=${signal}`, { method: 'POST' })
  assert.equal(answer.status, 200, await answer.text())
}

// Callbacks of the SDK, each recorded in a list of its own.
const callbacks = [
  'onConnected', 'onDisconnected', 'onReconnecting', 'onReceivedMessage', 'onTextMessage', 'onRecallMessage', 'onCmdMessage', 'onDeliveredMessage',
  'onReadMessage', 'onChannelMessage', 'onStatisticMessage', 'onOfflineMessageSyncStart', 'onOfflineMessageSyncFinish', 'onError'
]

const opened = new Set()

// Client is a user on one device.
export class Client {
  constructor (user, options = {}) {
    this.user = user
    this.at = address()
    this.conn = new sdk.Connection({
      appKey,
      ...this.at,
      delivery: true,
      isFixedDeviceId: !options.deviceId, // without a deviceId all connections share one, as the tabs of a browser do
      ...options
    })
    this.got = Object.fromEntries(callbacks.map(name => [name, []]))
    this.conn.addEventHandler('recorder', Object.fromEntries(callbacks.map(name => [name, arg => this.got[name].push(arg ?? {})])))
  }

  // open logs in with a token.
  static async open (user, options) {
    const c = new Client(user, options)
    await c.login()
    return c
  }

  async login () {
    const accessToken = await api.token(this.user)
    await caughtUp(this.at)
    await this.conn.open({ user: this.user, username: this.user, accessToken })
    opened.add(this)
    await until(`${this.user} is connected`, () => this.got.onConnected.length > 0)
  }

  async close () {
    opened.delete(this)
    await logout(this.conn)
    if (nodes > 1) await sleep(600) // in which the others get to know what the device has seen
  }

  get groups () { return sdk.groups(this.conn) }

  send (option) { return this.conn.send(sdk.create(this.conn, option)) }
  text (to, msg) { return this.send({ type: 'txt', chatType: 'singleChat', to, msg }) }
  groupText (to, msg, allowGroupAck = true) { return this.send({ type: 'txt', chatType: 'groupChat', to, msg, msgConfig: { allowGroupAck } }) }
  read (to, id) { return this.send({ type: 'read', chatType: 'singleChat', to, id }) }
  groupRead (to, id, ackContent) { return this.send({ type: 'read', chatType: 'groupChat', to, id, ackContent }) }
  channel (to, chatType = 'singleChat') { return this.send({ type: 'channel', chatType, to }) }

  // next waits for a callback, with an argument that fits.
  next (callback, fits = () => true) {
    return until(`${this.user} gets ${callback}`, () => this.got[callback].find(fits))
  }

  // texts are the texts that came, in their order.
  get texts () { return this.got.onTextMessage.map(m => m.msg) }

  // groupCount is the count that this author was told last of a message: live, or in a summary.
  groupCount (mid) {
    let count = 0
    for (const m of this.got.onReadMessage) if (m.groupReadCount) count = Math.max(count, m.groupReadCount[mid] ?? 0)
    for (const ack of this.summary()) if (ack.mid === mid) count = Math.max(count, ack.count)
    return count
  }

  // summary has the items of all statistic messages so far.
  summary () { return this.got.onStatisticMessage.flatMap(m => JSON.parse(m.location).group_ack ?? []) }
}

// logout closes a connection once all that it has sent is answered. The SDK acknowledges messages
// by itself and rejects what is not answered when it is closed; nobody can catch that for its own
// sends, and Node takes it for an error of the test that runs.
export async function logout (conn) {
  await until('all sends are answered', () => Object.keys(conn._msgHash ?? {}).length === 0)
  conn.close()
}

// closeAll logs everybody out.
export async function closeAll () {
  await Promise.all([...opened].map(c => logout(c.conn)))
  opened.clear()
}

// refused asserts that a send is rejected as the SDK does it: with type 503 and the server's text.
export async function refused (sending, message, type = 503) {
  const err = await sending.then(() => assert.fail(`it was not refused with ${message}`), err => err)
  assert.equal(err.message, message)
  assert.equal(err.type, type)
}
