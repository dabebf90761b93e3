// Conversation receipts and what is unread.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { api, Client, closeAll, sleep, until } from './client.mjs'

let ann, ben
before(async () => {
  await api.configure({ group_receipts: { enabled: true } })
  ann = await Client.open('ann')
  ben = await Client.open('ben')
})
after(closeAll)

test('in a single chat it marks everything so far as read and tells the peer once', async () => {
  const sent = []
  for (let n = 0; n < 5; n++) sent.push((await ann.text('ben', `text ${n}`)).serverMsgId)
  await until('ben has all', () => ben.texts.length === 5)
  assert.equal(await api.unread('ben', 'ann'), 5)
  await ben.read('ann', sent[0])
  assert.equal(await api.unread('ben', 'ann'), 5) // a read of one message is none of the conversation
  await ben.channel('ann')
  assert.equal(await api.unread('ben', 'ann'), 0)
  const counts = await api.counts(sent)
  for (const mid of sent) assert.equal(counts[mid].read, 1)
  const told = await ann.next('onChannelMessage')
  assert.deepEqual([told.from, told.to], ['ben', 'ann'])
  const { serverMsgId: later } = await ann.text('ben', 'later')
  assert.equal((await api.message(later)).read, 0)
  assert.equal(await api.unread('ben', 'ann'), 1)
  await sleep(300)
  assert.equal(ann.got.onChannelMessage.length, 1)
})

test('in a group it zeroes the reader and tells nobody', async () => {
  const group = await api.group('g', 'ann', ['ben', 'cleo'])
  const { serverMsgId: mid } = await ann.groupText(group, 'hello')
  await ben.next('onTextMessage', m => m.id === mid)
  assert.equal(await api.unread('ben', group), 1)
  const before = ann.got.onChannelMessage.length
  await ben.channel(group, 'groupChat')
  assert.equal(await api.unread('ben', group), 0)
  assert.equal(await api.unread('cleo', group), 1)
  assert.equal((await api.message(mid)).read, 0)
  await sleep(300)
  assert.equal(ann.got.onChannelMessage.length, before)
  assert.equal(ann.groupCount(mid), 0)
})
