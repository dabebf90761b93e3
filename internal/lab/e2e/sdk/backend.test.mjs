// Clients with the SDK beside a backend that uses the HTTP API.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { api, Client, closeAll, until } from './client.mjs'

before(() => api.configure({ group_receipts: { enabled: true } }))
after(closeAll)

test('reads by HTTP reach an author with the SDK', async () => {
  const ann = await Client.open('ann')
  const group = await api.group('g', 'ann', ['ben', 'cleo', 'dan'])
  const { serverMsgId: mid } = await ann.groupText(group, 'hello')
  const [{ outcome }] = (await api.events([{ type: 'message.read', message: mid, user: 'ben', group, content: 'by HTTP' }])).outcomes
  assert.equal(outcome, 'applied')
  const told = await ann.next('onReadMessage', m => m.mid === mid)
  assert.deepEqual([told.from, told.groupReadCount, told.ackContent], ['ben', { [mid]: 1 }, 'by HTTP'])
  await api.events(['cleo', 'dan'].map(user => ({ type: 'message.read', message: mid, user, group })))
  await until('ann is told of all', () => ann.groupCount(mid) === 3)

  const { serverMsgId: single } = await ann.text('ben', 'hello')
  await api.events([{ type: 'message.delivered', message: single, user: 'ben', peer: 'ann' }])
  await ann.next('onDeliveredMessage', m => m.mid === single && m.from === 'ben')
  await api.events([{ type: 'message.read', message: single, user: 'ben', peer: 'ann' }])
  await ann.next('onReadMessage', m => m.mid === single && m.from === 'ben')
  // Of a conversation read ann is told if it reads something.
  await ann.text('ben', 'again')
  await api.events([{ type: 'conversation.read', user: 'ben', peer: 'ann' }])
  await ann.next('onChannelMessage', m => m.from === 'ben')
})

test('a message that a backend has sent is read with the SDK', async () => {
  const group = await api.group('g2', 'eve', ['fay', 'gus'])
  await api.events([{ type: 'message.sent', id: '77', from: 'eve', group, receipt: true }])
  const fay = await Client.open('fay')
  await fay.groupRead(group, '77', 'seen')
  assert.deepEqual((await api.readers('77')).map(({ user, content }) => ({ user, content })), [{ user: 'fay', content: 'seen' }])
  const eve = await Client.open('eve')
  await until('eve gets the summary', () => eve.groupCount('77') === 1)
  const { data } = await eve.groups.getGroupMsgReadUser({ groupId: group, msgId: '77' })
  assert.deepEqual(data.userlist, ['fay'])
})

test('messages whose ids are no numbers are in summaries', async () => {
  const group = await api.group('g3', 'hal', ['ida', 'jon'])
  await api.events([{ type: 'message.sent', id: 'order-17', from: 'hal', group, receipt: true }])
  const hal = await Client.open('hal')
  await api.events([{ type: 'message.read', message: 'order-17', user: 'ida', group }])
  await until('hal is told', () => hal.groupCount('order-17') === 1)
})
