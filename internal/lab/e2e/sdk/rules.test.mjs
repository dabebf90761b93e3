// What the requirement document limits.
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { api, Client, closeAll, refused, sleep, until } from './client.mjs'

const settings = { delivery_receipts: true, group_receipts: { enabled: true, who_may_request: 'members', validity: '72h', max_group_size: 200, visibility: 'sender' } }
const configure = group => api.configure({ ...settings, group_receipts: { ...settings.group_receipts, ...group } })

let ann, ben, cleo, group
before(async () => {
  await configure()
  group = await api.group('g', 'ann', ['ben', 'cleo', 'dan'], ['cleo'])
  for (const user of ['ann', 'ben', 'cleo']) await Client.open(user).then(c => { ({ ann, ben, cleo } = { ann, ben, cleo, [user]: c }) })
})
beforeEach(() => configure())
after(closeAll)

test('a read after the validity is refused and not recorded', async () => {
  await configure({ validity: '5s' }) // time enough for the first, on a busy machine
  const { serverMsgId: mid } = await ann.groupText(group, 'quick')
  await ben.groupRead(group, mid)
  await sleep(5500)
  await refused(cleo.groupRead(group, mid), 'group ack msg not found')
  assert.equal((await api.message(mid)).read, 1)
  await until('ann is told of the one in time', () => ann.groupCount(mid) === 1)
  const last = (await api.rejections())[0]
  assert.deepEqual([last.reason, last.code, last.user, last.message], ['group ack msg not found', 503, 'cleo', mid])
})

test('a group above the limit has no receipts, and its readers no error', async () => {
  await configure({ max_group_size: 3 })
  const { serverMsgId: mid } = await ann.groupText(group, 'to many')
  await ben.next('onTextMessage', m => m.id === mid)
  await ben.groupRead(group, mid)
  const { eligible, read } = await api.message(mid)
  assert.deepEqual([eligible, read], [0, 0])
  await sleep(300)
  assert.equal(ann.groupCount(mid), 0)
})

test('the default limit is 200 members', async () => {
  const members = n => Array.from({ length: n }, (_, i) => `m${i}`)
  for (const [size, eligible] of [[200, 199], [201, 0]]) {
    const { data } = await ann.groups.createGroup({ data: {
      groupname: 'large', desc: '', members: members(size - 1), public: false, approval: false, allowinvites: false, inviteNeedConfirm: false, maxusers: 500
    } })
    const { serverMsgId: mid } = await ann.groupText(data.groupid, 'all of you')
    assert.equal((await api.message(mid)).eligible, eligible)
  }
})

test('where only admins may ask, a member is refused, the owner and admins are not', async () => {
  await configure({ who_may_request: 'admins' })
  await refused(ben.groupText(group, 'may I'), 'group ack msg permission denied')
  await ben.groupText(group, 'without receipts', false)
  for (const c of [ann, cleo]) {
    const { serverMsgId: mid } = await c.groupText(group, 'I may')
    assert.equal((await api.message(mid)).receipt_requested, true)
  }
  await ann.groups.setGroupAdmin({ groupId: group, username: 'ben' })
  await ben.groupText(group, 'now I may')
  await ann.groups.removeGroupAdmin({ groupId: group, username: 'ben' })
  await refused(ben.groupText(group, 'no longer'), 'group ack msg permission denied')
})

test('with the feature off there are no receipts, and nothing else changes', async () => {
  await configure({ enabled: false })
  await refused(ann.groupText(group, 'anybody'), 'group ack not open')
  const { serverMsgId: mid } = await ann.groupText(group, 'never mind', false)
  await ben.next('onTextMessage', m => m.id === mid)
  await refused(ben.groupRead(group, mid), 'group ack not open')
  await assert.rejects(ann.groups.getGroupMsgReadUser({ groupId: group, msgId: mid }), err => err.type === 505)
})

test('unknown messages, and authors who read their own', async () => {
  await refused(ben.groupRead(group, '987654321'), 'group ack msg not found')
  await refused(ben.groupRead(group, 'no number'), 'group ack msg not found')
  const { serverMsgId: mid } = await ann.groupText(group, 'mine')
  await ann.groupRead(group, mid)
  assert.equal((await api.message(mid)).read, 0)
  await assert.rejects(ann.groups.getGroupMsgReadUser({ groupId: group, msgId: '987654321' }), err => err.type === 17 || err.type === 51)
})

test('who is not in the group neither sends nor reads', async () => {
  const zoe = await Client.open('zoe')
  const { serverMsgId: mid } = await ann.groupText(group, 'among us')
  await refused(zoe.groupText(group, 'hello', false), 'not in group or chatroom', 602)
  await refused(zoe.groupRead(group, mid), 'not in group or chatroom', 602)
  await assert.rejects(zoe.groups.getGroupMsgReadUser({ groupId: group, msgId: mid }), err => err.type === 603)
  assert.equal((await api.message(mid)).read, 0)
})

test('readers are shown to members where the app says so', async () => {
  const { serverMsgId: mid } = await ann.groupText(group, 'who reads')
  await ben.groupRead(group, mid)
  await assert.rejects(cleo.groups.getGroupMsgReadUser({ groupId: group, msgId: mid }), err => err.type === 603)
  await configure({ visibility: 'members' })
  const { data } = await cleo.groups.getGroupMsgReadUser({ groupId: group, msgId: mid })
  assert.deepEqual([data.total, data.userlist], [1, ['ben']])
})

test('a recalled message takes no more receipts', async () => {
  const { serverMsgId: mid } = await ann.groupText(group, 'oops')
  await ben.groupRead(group, mid)
  await ann.conn.recallMessage({ mid, to: group, chatType: 'groupChat', type: 'groupChat' })
  const told = await ben.next('onRecallMessage', m => m.mid === mid)
  assert.equal(told.from, 'ann')
  await refused(cleo.groupRead(group, mid), 'group ack msg not found')
  assert.equal((await api.message(mid)).recalled, true)
  // Only the author recalls.
  const { serverMsgId: other } = await ann.groupText(group, 'mine')
  await assert.rejects(ben.conn.recallMessage({ mid: other, to: group, chatType: 'groupChat', type: 'groupChat' }))
  assert.equal((await api.message(other)).recalled, false)
})

test('without delivery receipts the recipient still reads', async () => {
  await api.configure({ ...settings, delivery_receipts: false })
  const { serverMsgId: mid } = await ann.text('ben', 'hello')
  await ben.next('onTextMessage', m => m.id === mid)
  await sleep(300)
  assert.equal(ann.got.onDeliveredMessage.length, 0)
  assert.equal((await api.message(mid)).delivered, 0)
  await ben.read('ann', mid)
  await ann.next('onReadMessage', m => m.mid === mid)
  await configure()
  // A client that was not told to send them sends none.
  const silent = await Client.open('sue', { delivery: false })
  const { serverMsgId: second } = await ann.text('sue', 'hello')
  await silent.next('onTextMessage', m => m.id === second)
  await sleep(300)
  assert.equal((await api.message(second)).delivered, 0)
})
