// Random frames, of every field that the protocol knows in every wire type, repeated, nested and in
// any order, at every depth: what the SDK of the other one shows is what the server decided. FRAMES
// says how many.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { api, Client, closeAll, until } from './client.mjs'
import { Attacker, bytes, END, FIXED32, FIXED64, number, START, tag, VARINT, varint } from './wire.mjs'

const frames = Number(process.env.FRAMES ?? 3000)
const connections = 4
const atOnce = 64

// What the SDK shows of a message, and what else it shows.
const contents = ['onTextMessage', 'onCmdMessage', 'onLocationMessage', 'onFileMessage', 'onCustomMessage', 'onImageMessage', 'onAudioMessage', 'onVideoMessage', 'onCombineMessage']
const others = ['onStatisticMessage', 'onModifiedMessage', 'onReactionChange', 'onGroupEvent', 'onGroupChange', 'onContactInvited', 'onContactAdded', 'onContactAgreed',
  'onContactDeleted', 'onContactRefuse', 'onPresence', 'onPresenceStatusChange', 'onMultiDeviceEvent', 'onChatThreadChange', 'onChatroomEvent', 'onChatroomChange',
  'onMessagePinEvent', 'onStreamMessage', 'onMucMessage']

let state = 20261127
const random = n => { // a linear congruential generator: the same frames each time
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor(state / 2 ** 32 * n)
}
const pick = list => list[random(list.length)]
const shuffled = list => {
  for (let i = list.length - 1; i > 0; i--) {
    const j = random(i + 1)
    ;[list[i], list[j]] = [list[j], list[i]]
  }
  return list
}

// The fields of each message, with those that are messages themselves.
const name = { 1: 'text', 2: 'text', 3: 'text', 4: 'text' }
const keyValue = { 1: 'text', 2: 'number', 3: 'number', 4: 'float', 5: 'double', 6: 'text' }
const size = { 1: 'double', 2: 'double' }
const content = { 1: 'number', 2: 'text', 3: 'double', 4: 'double', 9: 'number', 11: keyValue, 12: 'number', 13: size, 17: 'number', 18: size, 20: keyValue, 22: 'number', 25: 'number' }
for (const n of [5, 6, 7, 8, 10, 14, 15, 16, 19, 21, 23, 24]) content[n] = 'text'
const body = { 1: 'number', 2: name, 3: name, 4: content, 5: keyValue, 6: 'number', 7: { 1: 'number' }, 8: 'text' }

let mids = [] // of messages, some of them cleo's
const texts = () => pick(['ben', 'cleo', 'ann', 'group_read_count', 'acme#chat', 'easemob.com', 'conference.easemob.com', `{"${pick(mids)}":4711}`, '{', '', 'https://x.example/'])
const numbers = () => random(2) ? random(12) : pick(mids)

// value is one of a field: of its own kind, or of another.
function value (nr, kind, depth) {
  if (random(3) === 0) kind = pick(['number', 'double', 'float', 'text', 'group', name])
  switch (kind) {
    case 'number': return number(nr, numbers())
    case 'double': return Buffer.concat([tag(nr, FIXED64), Buffer.from([random(8), 18, 3, 98, 101, 110, 122, 0])])
    case 'float': return Buffer.concat([tag(nr, FIXED32), Buffer.from([random(8), 122, 1, 0])])
    case 'text': return bytes(nr, texts())
    case 'group': return Buffer.concat([tag(nr, START), ...depth < 3 ? some(body, depth + 1, 2) : [], tag(nr, END)])
    default: return bytes(nr, ...depth < 4 ? some(kind, depth + 1, 5) : [])
  }
}

// some are random fields of a message, a few of them unknown.
const some = (schema, depth, most) => Array.from({ length: random(most + 1) }, () => {
  const nr = random(6) ? Number(pick(Object.keys(schema))) : 1 + random(60)
  return value(nr, schema[nr] ?? 'text', depth)
})

// wrong are copies of fields in a wire type that is not theirs.
const wrong = numbers => Array.from({ length: random(3) }, () => {
  const nr = pick(numbers)
  return pick([Buffer.concat([tag(nr, FIXED64), Buffer.from([2, 18, 3, 98, 101, 110, 122, 0])]), Buffer.concat([tag(nr, FIXED32), Buffer.from([5, 122, 1, 0])])])
})

// frame is one with a message that the server understands, or not, and a lot around it.
function frame (id, group) {
  const start = random(4) ? [number(1, random(12) && random(9)), bytes(4, number(1, random(9)), bytes(2, 'random'))] : []
  const payload = Buffer.concat(shuffled([...start, ...some(body, 0, 6), ...wrong([1, 2, 3, 4, 5, 6, 7, 8])]))
  const to = shuffled([bytes(2, group ? 'team' : 'cleo'), bytes(3, group ? 'conference.easemob.com' : 'easemob.com'), ...wrong([1, 2, 3, 4]), bytes(1, texts())])
  const meta = shuffled([number(1, id), bytes(3, ...to), number(5, 1), bytes(6, payload), bytes(2, ...some(name, 2, 4)), number(4, numbers()),
    ...wrong([1, 2, 3, 4, 5, 6, 7, 10, 11, 12]), ...random(5) ? [] : [number(7, random(3)), bytes(10, texts())]])
  const up = shuffled([bytes(1, ...meta), ...wrong([1, 2, 3, 4]), ...random(3) ? [] : [number(2, numbers())]])
  return Buffer.concat(shuffled([number(8, 0), bytes(9, ...up), ...wrong([2, 3, 8, 9]), ...random(3) ? [] : [bytes(2, ...some(name, 2, 4)), bytes(3, texts())]]))
}

// Messages that the server took and that were not shown yet, and those that were shown before the
// answer to their sender came: in the end there are none of these.
const decided = new Set(), early = new Set()
const shown = { messages: 0, read: new Map(), delivered: new Set(), recalled: new Set(), conversations: 0 }
const marked = new Set() // markers of ben's that were shown
const wrongs = []
const own = new Set() // cleo's

// judge says what is wrong with something that cleo is shown.
function judge (what, m) {
  const at = m.chatType === 'groupChat' || m.to === 'team' ? 'team' : 'cleo'
  if (m.from === 'ben' && m.msg?.startsWith('marker')) return
  if (m.from !== 'ann' || m.to !== at) return `${what} from ${m.from} to ${m.to}`
  if (contents.includes(what)) {
    shown.messages++
    if (!decided.delete(m.id)) early.add(m.id)
    return
  }
  const mid = m.mid ?? m.id
  switch (what) {
    case 'onReadMessage':
      shown.read.set(mid, m.groupReadCount?.[mid])
      return own.has(mid) ? undefined : `${mid} is read, which cleo did not send to ann`
    case 'onDeliveredMessage':
      shown.delivered.add(mid)
      return own.has(mid) ? undefined : `${mid} is delivered, which cleo did not send to ann`
    case 'onRecallMessage': shown.recalled.add(mid); return
    case 'onChannelMessage': shown.conversations++; return
  }
  return what
}

let cleo, ben, attackers
before(async () => {
  await api.configure({ delivery_receipts: true, group_receipts: { enabled: true, who_may_request: 'members', validity: '72h', max_group_size: 200, visibility: 'sender' } })
  await api.group('team', 'dan', ['ann', 'ben', 'cleo'])
  ben = await Client.open('ben', { delivery: false })
  cleo = new Client('cleo', { delivery: false })
  cleo.conn.removeEventHandler('recorder')
  const handlers = { onConnected: () => cleo.got.onConnected.push({}), onError: e => wrongs.push(`the SDK fails: ${e.message}`) }
  for (const what of [...contents, ...others, 'onReadMessage', 'onDeliveredMessage', 'onRecallMessage', 'onChannelMessage']) {
    handlers[what] = m => {
      const problem = judge(what, m)
      if (problem && wrongs.length < 20) wrongs.push(problem)
      if (m.msg?.startsWith('marker')) marked.add(m.msg)
    }
  }
  cleo.conn.addEventHandler('judge', handlers)
  process.on('uncaughtException', e => wrongs.push(`the SDK throws: ${e.stack}`))
  await cleo.login()
  for (let i = 0; i < 12; i++) own.add((await (i % 2 ? cleo.text('ann', 'x') : cleo.groupText('team', 'x'))).serverMsgId)
  mids = [...own, (await cleo.text('ben', 'x')).serverMsgId, (await ben.text('ann', 'x')).serverMsgId]
  attackers = await Promise.all(Array.from({ length: connections }, (_, i) => Attacker.login('ann', 'hand' + i)))
})
after(async () => {
  for (const a of attackers) a.socket.close()
  await closeAll()
})

test('the SDK shows what the server decided', async () => {
  let taken = 0, refused = 0
  const send = left => Promise.all(attackers.map(async a => {
    while (left > 0 && !a.closed) {
      const n = Math.min(left, atOnce)
      left -= n
      await Promise.all(Array.from({ length: n }, () => new Promise(resolve => {
        const id = a.sent++
        a.waiting.set(String(id), answer => {
          if (answer.ok) {
            taken++
            if (!early.delete(answer.id)) decided.add(answer.id)
            if (random(20) === 0) mids[Math.min(mids.length, 14 + random(6))] = answer.id // to be recalled, or not
          } else refused++
          resolve()
        })
        a.socket.send(frame(id, random(2) === 0))
      })))
      // The SDK is not to fall behind by more than an inbox holds.
      if (random(4) === 0) await marker()
    }
  }))
  let sent = 0
  // Few frames recall anything or tell of a read; which do depends on whose come first.
  do {
    await send(frames)
    await marker()
    sent += frames
  } while ((shown.recalled.size === 0 || shown.read.size === 0) && sent < 20 * frames && !attackers.some(a => a.closed))
  assert.ok(!attackers.some(a => a.closed), 'a frame ended the connection: the rest was not tried')
  assert.deepEqual(wrongs, [])
  assert.deepEqual([...early], [], 'shown are messages that the server did not take, or took once')
  for (const [mid, count] of shown.read) {
    const { read, group } = await api.message(mid)
    assert.deepEqual([read, count], [1, group ? 1 : undefined], `${mid} is shown as read`)
  }
  for (const mid of shown.delivered) assert.equal((await api.message(mid)).delivered, 1, `${mid} is shown as delivered`)
  for (const mid of [...shown.recalled].slice(0, 1000)) assert.equal((await api.message(mid)).recalled, true, `${mid} is shown as recalled`)
  console.log(`${sent} frames: ${taken} taken, ${refused} refused; shown ${shown.messages} messages, ${shown.read.size} read, ${shown.delivered.size} delivered, ${shown.recalled.size} recalled, ${shown.conversations} conversation reads`)
  assert.ok(shown.messages > sent / 50 && shown.read.size > 0 && shown.recalled.size > 0 && refused > sent / 50, 'this tests nothing')
})

let markers = 0 // that were sent
async function marker () {
  const text = `marker ${markers++}`
  await ben.text('cleo', text)
  await until('the marker is shown', () => marked.delete(text))
}
