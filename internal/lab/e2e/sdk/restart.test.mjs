// The server is stopped and started again under connected clients.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { api, Client, closeAll, nodes, restart, sleep, until } from './client.mjs'
import { Traffic } from './traffic.mjs'

before(() => api.configure({ group_receipts: { enabled: true } }))
after(closeAll)

test('idle clients come back by themselves, and nothing is forgotten', async () => {
  const ann = await Client.open('ann', { autoReconnectNumMax: 60 })
  const ben = await Client.open('ben', { autoReconnectNumMax: 60 })
  const { serverMsgId: mid } = await ann.text('ben', 'before')
  await ben.next('onTextMessage', m => m.id === mid)
  await ann.next('onDeliveredMessage', m => m.mid === mid)
  for (let n = 0; n < nodes; n++) await restart('TERM')
  for (const c of [ann, ben]) await until(`${c.user} is back`, () => c.got.onConnected.length === 2)
  await ben.read('ann', mid)
  await ann.next('onReadMessage', m => m.mid === mid)
  await ann.text('ben', 'after')
  await until('ben has it', () => ben.texts.includes('after'))
  await sleep(500)
  assert.deepEqual(ben.texts, ['before', 'after'])
  assert.equal(ann.got.onReadMessage.length, 1)
})

test('under traffic nothing is lost or doubled', async () => {
  const traffic = await Traffic.open('g', ['a0', 'a1'], ['r0', 'r1', 'r2', 'r3'])
  traffic.start()
  for (let n = 0; n < 2; n++) {
    await traffic.flow(1500)
    await restart('TERM')
  }
  await traffic.flow(1500)
  await traffic.finish()
  await traffic.exact()
})
