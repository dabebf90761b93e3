// What the SDK finds in a browser and not in Node, and its builds. Nothing of the SDK is changed.
import { createRequire } from 'node:module'
import WS from 'ws'

const require = createRequire(import.meta.url)

// A socket that breaks emits error, and the SDK listens to none: in a browser that is no exception.
// And a browser hands out one message in each turn, when the promises of the one before are
// settled. The SDK relies on it: it looks for the send that an answer belongs to after several of
// them.
class WebSocket extends WS {
  constructor (url, protocols) {
    super(url, protocols, { allowSynchronousEvents: false })
    this.on('error', () => {})
  }
}

// The part of XMLHttpRequest that the SDK uses.
class XMLHttpRequest {
  readyState = 0
  status = 0
  responseText = ''
  #headers = {}

  open (method, url) { Object.assign(this, { method, url, readyState: 1 }) }
  setRequestHeader (name, value) { this.#headers[name] = value }
  getResponseHeader () { return null }
  abort () {}
  async send (body) {
    try {
      const answer = await fetch(this.url, { method: this.method, headers: this.#headers, body: this.method === 'GET' ? undefined : body })
      this.responseText = this.response = await answer.text()
      this.status = answer.status
    } catch {
      this.status = 0
    }
    this.readyState = 4
    this.onreadystatechange?.()
    if (this.status === 0) this.onerror?.()
    else this.onload?.()
  }
}

const kept = new Map()
const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
define('self', globalThis)
define('window', globalThis)
define('WebSocket', WebSocket)
define('XMLHttpRequest', XMLHttpRequest)
define('navigator', { userAgent: 'node' })
define('document', { addEventListener () {}, hidden: false })
define('localStorage', {
  getItem: key => kept.get(key) ?? null,
  setItem: (key, value) => kept.set(key, String(value)),
  removeItem: key => kept.delete(key)
})

// What the SDK logs is left out, unless SDK_LOG asks for it.
if (!process.env.SDK_LOG) {
  for (const method of ['log', 'info', 'debug', 'warn', 'error']) {
    const print = console[method].bind(console)
    console[method] = (...args) => { if (!String(args[0]).includes('IM SDK')) print(...args) }
  }
}

const load = name => { const loaded = require(name); return loaded.default ?? loaded }

const web = name => {
  const sdk = load(name)
  return { Connection: sdk.connection, create: (conn, option) => sdk.message.create(option), groups: conn => conn }
}

// builds are the packages under test. Of each: its Connection, how it makes a message, and what has
// its calls about groups.
const builds = {
  main: () => web('easemob-websdk'),
  agora: () => web('agora-chat'),
  mini: () => {
    const mini = load('easemob-websdk/miniCore/miniCore')
    const group = load('easemob-websdk/group/group')
    class Connection extends mini {
      constructor (options) {
        super(options)
        this.usePlugin(group, 'group')
      }
    }
    return { Connection, create: (conn, option) => conn.Message.create(option), groups: conn => conn.group }
  }
}

// build is the one that the environment names.
export const build = process.env.SDK_BUILD ?? 'main'
export const sdk = builds[build]()
