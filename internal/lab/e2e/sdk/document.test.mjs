// The requirement document's own code, in its order. WebIM and conn are what the document calls
// them.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { build, sdk } from './sdk.mjs'
import { address, api, appKey, caughtUp, Client, closeAll, logout, refused, until } from './client.mjs'

const websdk = { connection: sdk.Connection }
const password = 'a good secret'

// connect is the document's set-up, for a user who is registered.
async function connect (user) {
  const conn = new websdk.connection({
    appKey: 'acme#chat',
    delivery: true,
    ...address()
  })
  await conn.open({ user, username: user, pwd: password, password })
  return { conn, WebIM: { message: { create: option => sdk.create(conn, option) } } }
}

let alice, bob, carol, groupId
after(closeAll)

test('users register and log in', async () => {
  await api.configure({ group_receipts: { enabled: true }, open_registration: true })
  for (const username of ['alice', 'bob', 'carol', 'dave']) {
    if (build === 'mini') await api.register(username, password) // miniCore has no registerUser
    else await new websdk.connection({ appKey, ...address() }).registerUser({ username, password, nickname: username })
  }
  alice = await connect('alice')
  bob = await connect('bob')
  carol = await connect('carol')
  await assert.rejects(new websdk.connection({ appKey, ...address() }).open({ user: 'dave', username: 'dave', pwd: 'wrong', password: 'wrong' }),
    err => err.type === 1)
})

test('single chat: delivery receipt', async () => {
  const got = { received: [], delivered: [] }
  alice.conn.addEventHandler("customEvent", {
    onReceivedMessage: function (message) { got.received.push(message) }, // 收到消息送达服务器回执。
    onDeliveredMessage: function (message) { got.delivered.push(message) }, // 收到消息送达客户端回执。
  })
  const { WebIM, conn } = alice
  const sent = await conn.send(WebIM.message.create({ type: 'txt', chatType: 'singleChat', to: 'bob', msg: 'hello' }))
  await until('alice is told of the delivery', () => got.delivered.length)
  assert.equal(got.received[0].mid, sent.serverMsgId)
  const { mid, from, to } = got.delivered[0]
  assert.deepEqual({ mid, from, to }, { mid: sent.serverMsgId, from: 'bob', to: 'alice' })
  const m = await api.message(sent.serverMsgId)
  assert.deepEqual([m.from, m.to, m.delivered, m.read], ['alice', 'bob', 1, 0])
  assert.equal(await api.unread('bob', 'alice'), 1)
})

test('single chat: conversation receipt', async () => {
  const got = []
  alice.conn.addEventHandler('channel', { onChannelMessage: message => got.push(message) })
  const { WebIM, conn } = bob
  let option = {
    chatType: "singleChat", // 会话类型,设置为单聊。
    type: "channel", // 消息类型。
    to: "alice", // 接收消息对象的用户 ID。
  };
  let msg = WebIM.message.create(option);
  await conn.send(msg);
  await until('alice is told that the conversation was read', () => got.length)
  assert.deepEqual([got[0].from, got[0].to, got[0].chatType], ['bob', 'alice', 'singleChat'])
  assert.equal(await api.unread('bob', 'alice'), 0)
})

test('single chat: read receipt', async () => {
  const got = []
  alice.conn.addEventHandler("customEvent", {
    onReadMessage: (message) => { got.push(message) },
  });
  const sent = await alice.conn.send(alice.WebIM.message.create({ type: 'txt', chatType: 'singleChat', to: 'bob', msg: 'are you there' }))
  const { WebIM, conn } = bob
  let option = {
    type: "read", // 消息类型为消息已读回执。
    chatType: "singleChat", // 会话类型,这里为单聊。
    to: "alice", // 消息接收方的用户 ID。
    id: sent.serverMsgId, // 需要发送已读回执的消息 ID。
  };
  let msg = WebIM.message.create(option);
  await conn.send(msg);
  await until('alice is told of the read', () => got.length)
  assert.deepEqual([got[0].mid, got[0].from, got[0].groupReadCount], [sent.serverMsgId, 'bob', undefined])
  assert.deepEqual((await api.readers(sent.serverMsgId)).map(r => r.user), ['bob'])
})

const group = { id: '', first: '' }

test('group chat: a message that asks for receipts', async () => {
  const { data } = await sdk.groups(alice.conn).createGroup({
    data: { groupname: 'team', desc: '', members: ['bob', 'carol', 'dave'], public: true, approval: false, allowinvites: true, inviteNeedConfirm: false, maxusers: 200 }
  })
  groupId = data.groupid
  assert.match(groupId, /^\d+$/)
  const got = []
  bob.conn.addEventHandler('text', { onTextMessage: message => got.push(message) })
  const { WebIM, conn } = alice
  const said = []
  const sendGroupReadMsg = () => {
    let option = {
        type: 'txt',            // 消息类型。
        chatType: 'groupChat',  // 会话类型,这里为群聊。
        to: groupId,          // 消息接收方,即群组 ID。
        msg: 'message content', // 消息内容。
        msgConfig: { allowGroupAck: true } // 设置此消息需要已读回执。
    }

    let msg = WebIM.message.create(option);
    return conn.send(msg).then((res) => {
        said.push('send message success');
        group.first = res.serverMsgId
    }).catch((e) => {
        said.push("send message error");
    })
  }
  await sendGroupReadMsg()
  assert.deepEqual(said, ['send message success'])
  const message = await until('bob gets it', () => got[0])
  assert.deepEqual([message.id, message.to, message.chatType, message.msgConfig?.allowGroupAck], [group.first, groupId, 'groupChat', true])
  assert.equal((await api.message(group.first)).eligible, 3)
})

test('group chat: read receipts, live', async () => {
  const got = []
  alice.conn.addEventHandler("customEvent", {
    onReadMessage: (message) => {
      let { mid } = message;
      let msg = {
        id: mid,
      };
      if (message.groupReadCount) {
        // 消息已读数。
        msg.groupReadCount = message.groupReadCount[message.mid];
      }
      got.push({ ...msg, from: message.from, ackContent: message.ackContent })
    },
  });
  const sendReadMsg = ({ WebIM, conn }) => {
    let option = {
      type: "read", // 消息是否已读。
      chatType: "groupChat", // 会话类型,这里为群聊。
      id: group.first, // 需要发送已读回执的消息 ID。
      to: groupId, // 群组 ID。
      ackContent: JSON.stringify({}), // 回执内容。
    };
    let msg = WebIM.message.create(option);
    return conn.send(msg);
  };
  await sendReadMsg(bob)
  await until('alice is told of the first reader', () => got.length === 1)
  assert.deepEqual(got[0], { id: group.first, groupReadCount: 1, from: 'bob', ackContent: '{}' })
  await sendReadMsg(carol)
  await until('alice is told of the second', () => got.at(-1).groupReadCount === 2)
  await sendReadMsg(carol) // a success without effect
  const m = await api.message(group.first)
  assert.equal(m.read, 2)
  assert.deepEqual(await api.nonreaders(group.first), ['dave'])
})

test('group chat: who has read', async () => {
  const answers = []
  await sdk.groups(alice.conn)
    .getGroupMsgReadUser({
      msgId: group.first, // 消息 ID。
      groupId: groupId, // 群组 ID。
    })
    .then((res) => {
      answers.push(res)
    });
  const { ackmid, total, userlist, is_last } = answers[0].data
  assert.deepEqual({ ackmid, total, userlist, is_last }, { ackmid: group.first, total: 2, userlist: ['bob', 'carol'], is_last: true })
  await assert.rejects(sdk.groups(bob.conn).getGroupMsgReadUser({ msgId: group.first, groupId }), err => err.type === 603)
})

test('group chat: receipts while the author is away', async () => {
  await logout(alice.conn)
  const dave = await connect('dave')
  await dave.conn.send(dave.WebIM.message.create({ type: 'read', chatType: 'groupChat', id: group.first, to: groupId, ackContent: JSON.stringify({}) }))
  await logout(dave.conn)
  const got = []
  const again = await connectWith({
    // 离线时收到回执,登录后会在这里监听到。
    onStatisticMessage: (message) => {
      let statisticMsg = message.location && JSON.parse(message.location);
      let groupAck = statisticMsg.group_ack || [];
      got.push(groupAck)
    },
  })
  await until('alice gets the summary', () => got.length)
  assert.deepEqual(got[0].map(({ mid, gid, count }) => ({ mid, gid, count })), [{ mid: group.first, gid: groupId, count: 3 }])
  await until('what alice has seen is no longer in her summary', async () => (await api.statistics('alice')).group_ack.length === 0)
  assert.equal(got.length, 1)
  await logout(again)
})

// connectWith logs alice in with a handler that is there before anything can come.
async function connectWith (handler) {
  const at = address()
  await caughtUp(at)
  const conn = new websdk.connection({ appKey, delivery: true, ...at })
  conn.addEventHandler("customEvent", handler)
  await conn.open({ user: 'alice', username: 'alice', pwd: password, password })
  return conn
}

test('the errors the document names', async () => {
  const author = await Client.open('alice')
  await refused(author.groupRead(groupId, '1234567890'), 'group ack msg not found')
  await api.configure({ group_receipts: { who_may_request: 'admins' } })
  const member = await Client.open('bob')
  await refused(member.groupText(groupId, 'may I'), 'group ack msg permission denied')
  await api.configure({ group_receipts: { enabled: false } })
  await refused(author.groupText(groupId, 'anybody'), 'group ack not open')
})
