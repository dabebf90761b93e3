// A person: a connection of the SDK, and what it has told them. Tells 'change' when there is
// something new to see.

const sdk = window.websdk?.default ?? window.websdk
sdk?.logger?.disableAll()

// status of one's own messages; it never goes back.
export const SENDING = 0; export const SENT = 1; export const DELIVERED = 2; export const READ = 3; export const FAILED = -1

export const TEAM = 'team'

// From any page of the server, wherever a proxy has put it.
const home = new URL('.', location.href)
const socket = new URL('websocket', home)
socket.protocol = socket.protocol.replace('http', 'ws')

export class Person extends EventTarget {
  chats = new Map()
  state = 'offline'
  trouble = ''
  #visit; #conn; #early = new Map()

  constructor (visit, index) {
    super()
    this.#visit = visit
    this.index = index
    Object.assign(this, visit.people[index])
    this.#addChat(TEAM, 'Team')
  }

  get online () { return this.state === 'online' }
  get unread () { return [...this.chats.values()].reduce((n, chat) => n + chat.unread, 0) }

  // addPeer makes a chat with another person.
  addPeer (index) { this.#addChat(this.#visit.people[index].user, this.#visit.people[index].name) }

  nameOf (user) { return user === this.user ? 'You' : this.#visit.people.find(p => p.user === user)?.name ?? user }
  indexOf (user) { return this.#visit.people.findIndex(p => p.user === user) }

  #addChat (key, name) {
    const chat = { key, name, messages: [], unread: 0, to: key === TEAM ? this.#visit.group : key, type: key === TEAM ? 'groupChat' : 'singleChat' }
    this.chats.set(key, chat)
    return chat
  }

  // connect logs in. A lost connection is made again by the SDK.
  async connect () {
    this.#set('connecting')
    const conn = new sdk.connection({
      appKey: this.#visit.app_key,
      isHttpDNS: false,
      url: socket.href,
      apiUrl: home.href.replace(/\/$/, ''),
      delivery: true,
      deviceId: this.user,
      isFixedDeviceId: false, // all windows are of one browser
      autoReconnectNumMax: 1000
    })
    this.#conn = conn
    const mine = handler => arg => { if (this.#conn === conn) { handler(arg); this.#changed() } }
    conn.addEventHandler('demo', Object.fromEntries(Object.entries({
      onConnected: () => { this.state = 'online'; this.trouble = '' },
      onReconnecting: () => { this.state = 'connecting' },
      onDisconnected: () => { this.state = 'offline' },
      onTextMessage: m => this.#received(m),
      onDeliveredMessage: m => this.#about(m.mid, { status: DELIVERED }),
      onReadMessage: m => this.#about(m.mid, m.groupReadCount ? { count: m.groupReadCount[m.mid] } : { status: READ }),
      onChannelMessage: m => this.#conversationRead(m.from),
      onStatisticMessage: m => this.#summary(JSON.parse(m.location || '{}').group_ack ?? [])
    }).map(([name, handler]) => [name, mine(handler)])))
    try {
      await conn.open({ user: this.user, accessToken: this.token })
    } catch (err) {
      if (this.#conn === conn) { this.trouble = err.message; this.#set('offline') }
    }
  }

  disconnect () {
    const conn = this.#conn
    this.#conn = undefined
    conn?.close()
    this.#set('offline')
  }

  // send sends a text; asks: the author wants to know who reads it, in the group.
  async send (chat, text, asks) {
    const message = { from: this.user, mine: true, text, time: Date.now(), status: SENDING, asks: asks && chat.key === TEAM, count: 0 }
    chat.messages.push(message)
    this.#changed()
    try {
      const option = { type: 'txt', chatType: chat.type, to: chat.to, msg: text }
      if (chat.key === TEAM) option.msgConfig = { allowGroupAck: message.asks }
      const { serverMsgId } = await this.#conn.send(sdk.message.create(option))
      message.id = serverMsgId
      this.#about(serverMsgId, { status: SENT })
      for (const early of this.#early.get(serverMsgId) ?? []) this.#about(serverMsgId, early)
      this.#early.delete(serverMsgId)
    } catch (err) {
      Object.assign(message, { status: FAILED, trouble: err.message || 'not sent' })
    }
    this.#changed()
  }

  // read says that everything in a chat was read. entering: the chat was opened just now, so that
  // one receipt is enough for all.
  read (chat, entering) {
    if (!this.online || chat.unread === 0) return
    const unread = chat.messages.filter(m => m.unread)
    for (const m of unread) m.unread = false
    chat.unread = 0
    const send = option => this.#conn.send(sdk.message.create({ chatType: chat.type, to: chat.to, ...option })).catch(err => {
      if (err.message !== 'group ack msg not found') { this.trouble = err.message; this.#changed() }
    })
    if (chat.key === TEAM) {
      for (const m of unread) if (m.asks) send({ type: 'read', id: m.id, ackContent: JSON.stringify({}) })
      send({ type: 'channel' })
    } else if (entering || unread.length > 1) {
      send({ type: 'channel' })
    } else {
      send({ type: 'read', id: unread[0].id })
    }
    this.#changed()
  }

  // readers returns who has read a message of one's own, and who has not.
  async readers (message) {
    const { data } = await this.#conn.getGroupMsgReadUser({ msgId: message.id, groupId: this.#visit.group })
    const readers = data.userlist
    return { readers, others: this.#visit.people.map(p => p.user).filter(user => user !== this.user && !readers.includes(user)) }
  }

  get eligible () { return this.#visit.people.length - 1 }

  #received (m) {
    const key = m.chatType === 'groupChat' ? TEAM : m.from
    const chat = this.chats.get(key) ?? this.#addChat(key, this.nameOf(key))
    chat.messages.push({ id: m.id, from: m.from, text: m.msg, time: m.time, asks: m.msgConfig?.allowGroupAck ?? false, unread: true })
    chat.unread++
  }

  // about notes what became of a message. A receipt may be here before the answer to the send.
  #about (mid, what) {
    for (const chat of this.chats.values()) {
      const message = chat.messages.find(m => m.mine && m.id === mid)
      if (!message) continue
      const more = Math.max(0, (what.count ?? 0) - message.count)
      message.status = Math.max(message.status, what.status ?? SENT)
      message.count += more
      return more
    }
    this.#early.set(mid, [...this.#early.get(mid) ?? [], what])
    return 0
  }

  #conversationRead (peer) {
    for (const m of this.chats.get(peer)?.messages ?? []) if (m.mine && m.id) m.status = Math.max(m.status, READ)
  }

  #summary (acks) {
    let reads = 0; let messages = 0
    for (const { mid, count } of acks) {
      const more = this.#about(mid, { count })
      reads += more
      messages += more > 0 ? 1 : 0
    }
    if (reads === 0) return
    const plural = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`
    this.chats.get(TEAM).messages.push({ note: `While you were away: ${plural(reads, 'read')} of ${plural(messages, 'message')}`, time: Date.now() })
  }

  #set (state) { this.state = state; this.#changed() }
  #changed () { this.dispatchEvent(new Event('change')) }
}

export const available = Boolean(sdk)
