// A user who was away finds everything at the next login, once.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { api, Client, closeAll, sleep, until } from './client.mjs'

before(() => api.configure({ group_receipts: { enabled: true } }))
after(closeAll)

test('an author who was away during 1,000 reads gets one summary with the right counts', async () => {
  const users = Array.from({ length: 50 }, (_, i) => `u${i}`)
  const group = await api.group('g', 'ann', users)
  const ann = await Client.open('ann')
  const mids = []
  for (let n = 0; n < 20; n++) mids.push((await ann.groupText(group, `message ${n}`)).serverMsgId)
  await ann.close()
  const readers = await Promise.all(users.map(user => Client.open(user)))
  await Promise.all(readers.map(async reader => {
    await until(`${reader.user} has all messages`, () => reader.texts.length === 20)
    for (const m of reader.got.onTextMessage) await reader.groupRead(group, m.id)
  }))
  const counts = await api.counts(mids)
  for (const mid of mids) assert.equal(counts[mid].read, 50)

  const back = await Client.open('ann')
  await until('ann has all counts', () => mids.every(mid => back.groupCount(mid) === 50))
  assert.equal(back.got.onStatisticMessage.length, 1)
  assert.equal(back.got.onStatisticMessage[0].operation, 0)
  assert.deepEqual(back.summary().map(i => [i.gid, i.count]), mids.map(() => [group, 50]))
  assert.equal(back.got.onReadMessage.length, 0)
  await until('the summary is empty', async () => (await api.statistics('ann')).group_ack.length === 0)
  await back.close()
  const again = await Client.open('ann')
  await sleep(500)
  assert.equal(again.got.onStatisticMessage.length, 0)
})

test('unread and offline messages at login, in their order, with receipts to their author', async () => {
  const author = await Client.open('ben')
  const sent = []
  for (let n = 0; n < 120; n++) sent.push((await author.text('cleo', `text ${n}`)).serverMsgId) // more than a page
  assert.equal(await api.unread('cleo', 'ben'), 120)
  const cleo = await Client.open('cleo')
  await until('cleo has all', () => cleo.texts.length === 120)
  assert.deepEqual(cleo.got.onTextMessage.map(m => m.id), sent)
  await until('the author is told of each delivery', () => author.got.onDeliveredMessage.length === 120)
  assert.deepEqual(author.got.onDeliveredMessage.map(m => m.mid).sort(), [...sent].sort())
  await cleo.next('onOfflineMessageSyncStart')
  await cleo.next('onOfflineMessageSyncFinish')
  assert.equal(await api.unread('cleo', 'ben'), 120) // delivered is not read
  await cleo.close()
  const back = await Client.open('cleo')
  await sleep(500)
  assert.deepEqual(back.texts, [])
})

test('an author who was away gets the receipts of single chats at login', async () => {
  const author = await Client.open('dan')
  const first = (await author.text('eve', 'first')).serverMsgId
  const second = (await author.text('eve', 'second')).serverMsgId
  await author.close()
  const eve = await Client.open('eve')
  await until('eve has both', () => eve.texts.length === 2)
  await eve.read('dan', first)
  await until('both are delivered', async () => (await api.message(second)).delivered === 1)
  const back = await Client.open('dan')
  await back.next('onReadMessage', m => m.mid === first && m.from === 'eve')
  await back.next('onDeliveredMessage', m => m.mid === second && m.from === 'eve')
  await sleep(1500)
  await back.close()
  await eve.channel('dan')
  const third = await Client.open('dan')
  await third.next('onChannelMessage', m => m.from === 'eve')
})
