// The protocol without the SDK: fields in any wire type, and a user who writes frames by hand.
import { address, api, appKey, until } from './client.mjs'

export const VARINT = 0, FIXED64 = 1, BYTES = 2, START = 3, END = 4, FIXED32 = 5

export function varint (n) {
  const out = []
  for (n = BigInt(n); n > 127n; n >>= 7n) out.push(Number(n & 127n) | 128)
  return Buffer.from([...out, Number(n)])
}
export const tag = (number, wire) => varint(number * 8 + wire)
export const number = (field, value) => Buffer.concat([tag(field, VARINT), varint(value)])
export const bytes = (field, ...parts) => {
  const value = Buffer.concat(parts.map(p => Buffer.from(p)))
  return Buffer.concat([tag(field, BYTES), varint(value.length), value])
}

// fields reads a message that the server wrote: numbers as BigInt, the rest as bytes, the last copy
// of each.
function fields (data) {
  const found = {}
  let at = 0
  const next = () => {
    let n = 0n
    for (let shift = 0n; ; shift += 7n) {
      const b = data[at++]
      n |= BigInt(b & 127) << shift
      if (b < 128) return n
    }
  }
  while (at < data.length) {
    const t = Number(next())
    if (t % 8 === BYTES) {
      const size = Number(next())
      found[t >> 3] = data.subarray(at, at += size)
    } else found[t >> 3] = next()
  }
  return found
}

// Attacker speaks the protocol without the SDK.
export class Attacker {
  static async login (user, device = 'hand') {
    const a = new Attacker()
    a.user = user
    a.sent = 1000
    a.waiting = new Map() // by the number of a send: who wants to know what became of it
    a.socket = new WebSocket(address().url)
    a.socket.binaryType = 'arraybuffer'
    a.answers = 0
    a.socket.onmessage = m => a.take(Buffer.from(m.data))
    a.socket.onclose = () => { a.closed = true }
    await new Promise(resolve => { a.socket.onopen = resolve })
    a.frame(3, bytes(13, device), bytes(2, bytes(1, appKey), bytes(2, user)), bytes(3, '$t$' + await api.token(user)))
    await until('the attacker is logged in', () => a.answers > 0)
    return a
  }

  take (data) {
    this.answers++
    const frame = fields(data)
    const down = frame[9] && !frame[8] ? fields(frame[9]) : {}
    const waits = this.waiting.get(String(down[2]))
    if (!waits) return
    this.waiting.delete(String(down[2]))
    waits({ ok: !fields(down[1])[1], id: String(down[3]) })
  }

  frame (command, payload, ...more) {
    this.socket.send(Buffer.concat([...more, number(8, command), bytes(9, payload)]))
  }

  // body sends the bytes of a body to a user, or to a group.
  body (to, body, domain = 'easemob.com') {
    const meta = [number(1, this.sent++), bytes(3, bytes(2, to), bytes(3, domain)), number(5, 1), bytes(6, body)]
    this.frame(0, bytes(1, ...meta))
  }
}
