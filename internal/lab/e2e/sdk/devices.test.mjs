// One user on several devices and in several tabs.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { api, call, Client, closeAll, sleep, until } from './client.mjs'

before(() => api.configure({ group_receipts: { enabled: true } }))
after(closeAll)

test('every device of a recipient gets a message, and its author one delivery', async () => {
  const author = await Client.open('ann')
  const phone = await Client.open('ben', { deviceId: 'phone' })
  const laptop = await Client.open('ben', { deviceId: 'laptop' })
  const { serverMsgId: mid } = await author.text('ben', 'hello')
  for (const device of [phone, laptop]) await device.next('onTextMessage', m => m.id === mid)
  await author.next('onDeliveredMessage', m => m.mid === mid)
  await phone.read('ann', mid)
  await laptop.read('ann', mid)
  await author.next('onReadMessage', m => m.mid === mid)
  await sleep(300)
  assert.equal(author.got.onDeliveredMessage.length, 1)
  assert.equal(author.got.onReadMessage.length, 1)
  const { delivered, read } = await api.message(mid)
  assert.deepEqual([delivered, read], [1, 1])
})

test('every device of an author is told of a read, and gets what they sent with another one', async () => {
  const phone = await Client.open('cleo', { deviceId: 'phone' })
  const laptop = await Client.open('cleo', { deviceId: 'laptop' })
  const reader = await Client.open('dan')
  const group = await api.group('g-devices', 'cleo', ['dan', 'eve'])
  const { serverMsgId: mid } = await phone.groupText(group, 'hello')
  const copy = await laptop.next('onTextMessage', m => m.id === mid)
  assert.equal(copy.from, 'cleo')
  await reader.next('onTextMessage', m => m.id === mid)
  for (let n = 0; n < 5; n++) await reader.groupRead(group, mid) // the repeats are successes without effect
  for (const device of [phone, laptop]) {
    await until('the device is told of the count', () => device.groupCount(mid) === 1)
  }
  await sleep(300)
  for (const device of [phone, laptop]) assert.equal(device.got.onReadMessage.filter(m => m.mid === mid).length, 1)
  assert.equal((await api.message(mid)).read, 1)
  assert.deepEqual((await api.readers(mid)).map(r => r.user), ['dan'])
  assert.equal(phone.texts.length, 0) // not its own
})

test('a message for those who are online reaches each of them, and nobody later', async () => {
  const author = await Client.open('uma')
  const here = []
  for (const user of ['vic', 'wes', 'xia']) here.push(await Client.open(user))
  const group = await api.group('g-online', 'uma', ['vic', 'wes', 'xia', 'yan'])
  await author.send({ type: 'txt', chatType: 'groupChat', to: group, msg: 'now', deliverOnlineOnly: true })
  for (const member of here) await until('the member has it', () => member.texts.length === 1)
  await here[0].close()
  await author.send({ type: 'txt', chatType: 'groupChat', to: group, msg: 'and now', deliverOnlineOnly: true })
  for (const member of here.slice(1)) await until('the member has it', () => member.texts.length === 2)
  for (const user of ['vic', 'yan']) {
    const late = await Client.open(user)
    await sleep(300)
    assert.deepEqual(late.texts, [])
  }
})

test('two tabs of one browser share a device, and both get everything', async () => {
  const author = await Client.open('fay')
  const tabs = [await Client.open('gus'), await Client.open('gus')]
  const sent = []
  for (let n = 0; n < 10; n++) sent.push((await author.text('gus', `text ${n}`)).serverMsgId)
  for (const tab of tabs) await until('the tab has all texts', () => tab.texts.length === 10)
  for (const tab of tabs) assert.deepEqual(tab.got.onTextMessage.map(m => m.id), sent)
  await until('all are delivered', () => author.got.onDeliveredMessage.length === 10)
  await sleep(300)
  assert.equal(author.got.onDeliveredMessage.length, 10)
})

test('a device that was away gets what another one has taken', async () => {
  const author = await Client.open('hal')
  const phone = await Client.open('ida', { deviceId: 'phone' })
  const laptop = await Client.open('ida', { deviceId: 'laptop' })
  await author.text('ida', 'both')
  for (const device of [phone, laptop]) await until('the device has it', () => device.texts.length === 1)
  await sleep(200)
  await laptop.close()
  await author.text('ida', 'one')
  await until('the phone has it', () => phone.texts.length === 2)
  const back = await Client.open('ida', { deviceId: 'laptop' })
  await until('the laptop has it too', () => back.texts.length)
  assert.deepEqual(back.texts, ['one'])
})

test('what one device of an author has acknowledged, another one is still told, once', async () => {
  const group = await api.group('g-summary', 'mia', ['noa', 'ole'])
  const open = deviceId => Client.open('mia', { deviceId })
  const first = [await open('phone'), await open('laptop')]
  const { serverMsgId: mid } = await first[0].groupText(group, 'hello')
  for (const device of first) await device.close()
  const noa = await Client.open('noa')
  await noa.next('onTextMessage', m => m.id === mid)
  await noa.groupRead(group, mid)

  for (const deviceId of ['phone', 'laptop']) {
    const device = await open(deviceId)
    await until(`the ${deviceId} gets the summary`, () => device.summary().length)
    assert.deepEqual(device.summary().map(i => [i.mid, i.count]), [[mid, 1]])
    await sleep(300) // in which it would come again
    assert.equal(device.got.onStatisticMessage.length, 1)
    await device.close()
  }
  for (const deviceId of ['phone', 'laptop', 'tablet']) { // the last one is new, and what it is told was seen elsewhere
    const device = await open(deviceId)
    await sleep(500)
    assert.equal(device.got.onStatisticMessage.length, 0, deviceId)
    await device.close()
  }
  assert.deepEqual((await api.statistics('mia')).group_ack, [])

  const ole = await Client.open('ole') // news of the same message are news to every device
  await ole.next('onTextMessage', m => m.id === mid)
  await ole.groupRead(group, mid)
  for (const deviceId of ['laptop', 'tablet', 'phone']) {
    const device = await open(deviceId)
    await until(`the ${deviceId} gets the news`, () => device.groupCount(mid) === 2)
    await device.close()
  }
})

test('what one device has read, the others of the same user are told, hidden or not', async () => {
  const author = await Client.open('jan')
  const phone = await Client.open('kim', { deviceId: 'phone' })
  const laptop = await Client.open('kim', { deviceId: 'laptop' })
  const group = await api.group('g-own', 'jan', ['kim', 'lea'])
  await author.text('kim', 'hello')
  await author.groupText(group, 'all')
  for (const device of [phone, laptop]) await until('the device has both', () => device.texts.length === 2)

  await phone.channel('jan')
  await laptop.next('onChannelMessage', m => m.from === 'kim' && m.to === 'jan')
  await author.next('onChannelMessage', m => m.from === 'kim')
  await laptop.channel(group, 'groupChat')
  await phone.next('onChannelMessage', m => m.from === 'kim' && m.to === group)

  await call('PUT', '/v1/apps/acme/chat/users/kim/settings', { send_read_receipts: false }, await api.token('kim'))
  const { serverMsgId: mid } = await author.text('kim', 'a secret')
  for (const device of [phone, laptop]) await until('the device has it', () => device.texts.length === 3)
  await phone.read('jan', mid)
  await phone.channel('jan')
  await until('the laptop is told', () => laptop.got.onChannelMessage.length === 2)
  assert.equal(await api.unread('kim', 'jan'), 0)
  await sleep(300)
  // Nobody else: neither the author, nor the device that did it.
  assert.equal(author.got.onChannelMessage.length, 1)
  assert.equal(author.got.onReadMessage.filter(m => m.mid === mid).length, 0)
  assert.deepEqual(phone.got.onChannelMessage.map(m => m.to), [group])
  assert.deepEqual(laptop.got.onChannelMessage.map(m => m.to), ['jan', 'jan'])
  assert.equal((await api.message(mid)).read, 0)
  assert.deepEqual(await api.nonreaders(mid), ['kim'])
})
