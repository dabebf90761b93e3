// A user who writes frames by hand, so that the SDK of the other one sees what the server does not:
// its decoder goes by a field's number, whatever its wire type, and the last copy counts.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { api, Client, closeAll, sleep, until } from './client.mjs'
import { Attacker, bytes, FIXED32, FIXED64, number, tag, VARINT, varint } from './wire.mjs'

const text = t => bytes(4, number(1, 0), bytes(2, t))
const chat = (t, ...more) => Buffer.concat([number(1, 1), bytes(2, bytes(2, 'ann')), bytes(3, bytes(2, 'cleo')), text(t), ...more])

let attacker, cleo, ben
before(async () => {
  await api.configure({ delivery_receipts: true, group_receipts: { enabled: true, who_may_request: 'members', validity: '72h', max_group_size: 200, visibility: 'sender' } })
  cleo = await Client.open('cleo')
  ben = await Client.open('ben')
  attacker = await Attacker.login('ann')
})
after(async () => {
  attacker.socket.close()
  await closeAll()
})

// honest asserts that cleo was shown messages of ann, and nothing else.
async function honest (marker) {
  const { serverMsgId } = await ben.text('cleo', marker)
  await cleo.next('onTextMessage', m => m.id === serverMsgId)
  for (const m of cleo.got.onTextMessage) assert.deepEqual([m.from, m.to], [m.msg?.startsWith('marker') ? 'ben' : 'ann', 'cleo'])
  for (const name of ['onReadMessage', 'onDeliveredMessage', 'onChannelMessage', 'onRecallMessage', 'onStatisticMessage']) {
    assert.deepEqual(cleo.got[name], [], name)
  }
}

test('another copy of a field in another wire type says nothing', async () => {
  const { serverMsgId: mid } = await cleo.text('ben', 'have you read this?')
  await until('ben has it', () => ben.texts.includes('have you read this?'))
  await until('its delivery is told', () => cleo.got.onDeliveredMessage.length === 1)
  cleo.got.onDeliveredMessage.length = 0
  const id = varint(mid)
  for (const [name, forged] of Object.entries({
    sender: Buffer.from('10051103' + '62656e' + '7a020000', 'hex'), // from, as a varint and as eight bytes
    sender_of_bytes: Buffer.concat([tag(2, FIXED64), Buffer.from([5, 18, 3]), Buffer.from('ben'), Buffer.from([122, 0])]),
    receipt: Buffer.concat([Buffer.from('0d047a0100', 'hex'), tag(6, VARINT), id]), // type as four bytes
    recall: Buffer.concat([tag(1, FIXED32), Buffer.from([6, 0x7a, 1, 0]), tag(6, VARINT), id]),
    conversation_read: Buffer.concat([tag(1, FIXED32), Buffer.from([7, 0x7a, 1, 0])]),
    count: bytes(5, bytes(1, 'group_read_count'), number(2, 8), bytes(6, `{"${mid}":4711}`))
  })) {
    attacker.body('cleo', chat(name, forged))
  }
  await honest('marker 1')
  assert.equal((await api.message(mid)).read, 0)
})

test('of random fields the SDK shows nothing that the server did not decide', async () => {
  let state = 20261126
  const random = n => { // a linear congruential generator: the same frames each time
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * n)
  }
  const field = depth => {
    const nr = 1 + random(14)
    switch (random(depth < 3 ? 5 : 4)) {
      case 0: return number(nr, nr === 1 ? 1 : random(12)) // of type 1, or it would be a receipt by right
      case 1: return Buffer.concat([tag(nr, FIXED64), Buffer.from([random(8), 18, 3, 98, 101, 110, 122, 0])])
      case 2: return Buffer.concat([tag(nr, FIXED32), Buffer.from([random(8), 122, 1, 0])])
      case 3: return bytes(nr, 'ben')
      default: return bytes(nr, ...Array.from({ length: random(4) }, () => field(depth + 1)))
    }
  }
  for (let i = 0; i < 200; i++) {
    attacker.body('cleo', chat('random', ...Array.from({ length: 1 + random(5) }, () => field(0))))
    await sleep(5)
  }
  await honest('marker 2')
  assert.ok(cleo.texts.filter(t => t === 'random').length > 0)
})
