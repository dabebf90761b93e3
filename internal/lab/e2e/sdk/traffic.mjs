// Members of groups who write and read all the time, and an account of what must have come of it.
import assert from 'node:assert/strict'
import { api, Client, sleep, until } from './client.mjs'

// Traffic has authors who post to a group of readers. A send that fails may have been stored or
// not; it is sent again as a chat client does it, and a read until it is answered.
export class Traffic {
  mids = []
  cut = 0 // sends that failed
  #on = true
  #writers = []
  #readers = []

  constructor (group, authors, readers) { Object.assign(this, { group, authors, readers }) }

  static async open (group, authors, readers) {
    await api.group(group, authors[0], [...authors.slice(1), ...readers])
    const clients = await Promise.all([...authors, ...readers].map(user => Client.open(user, { autoReconnectNumMax: 60 })))
    return new Traffic(group, clients.slice(0, authors.length), clients.slice(authors.length))
  }

  start () {
    for (const author of this.authors) this.#writers.push(this.#write(author))
    for (const reader of this.readers) this.#readers.push(this.#readAll(reader))
  }

  async #write (author) {
    for (let n = 0; this.#on; n++) {
      const sent = await this.#again(() => author.groupText(this.group, `${author.user} ${n}`))
      this.mids.push({ author, mid: sent.serverMsgId })
      await sleep(40)
    }
  }

  // #readAll reads what comes, until every message that was answered has come.
  async #readAll (reader) {
    const read = new Set()
    const done = () => this.ended && this.mids.every(({ mid }) => read.has(mid))
    const deadline = () => this.ended && Date.now() > this.ended + 60_000
    while (!done() && !deadline()) {
      for (const { id } of reader.got.onTextMessage) {
        if (read.has(id)) continue
        await this.#again(() => reader.groupRead(this.group, id, 'seen'))
        read.add(id)
      }
      await sleep(20)
    }
    assert.ok(done(), `${reader.user} has not got every message`)
  }

  async #again (send) {
    for (let tries = 0; ; tries++) {
      try {
        return await send()
      } catch (err) {
        this.cut++
        if (tries > 900) throw err // a minute and a half, and what the tries took
        await sleep(100)
      }
    }
  }

  // flow lets time pass in which messages are answered: some, however slow the machine is.
  async flow (ms) {
    const wanted = this.mids.length + 10
    await sleep(ms)
    await until('messages are answered', () => this.mids.length >= wanted)
  }

  // finish ends the writing and waits until everything that was answered is read.
  async finish () {
    this.#on = false
    await Promise.all(this.#writers)
    this.ended = Date.now()
    await Promise.all(this.#readers)
  }

  // exact checks that the server has every receipt once, and that the authors saw in the end what
  // the server says.
  async exact () {
    const all = this.authors.length + this.readers.length - 1
    const mids = this.mids.map(m => m.mid)
    assert.ok(mids.length > 20)
    const counts = {}
    for (let at = 0; at < mids.length; at += 1000) Object.assign(counts, await api.counts(mids.slice(at, at + 1000)))
    for (const { author, mid } of this.mids) {
      assert.deepEqual([counts[mid].eligible, counts[mid].read], [all, this.readers.length], `message ${mid}`)
      await until(`${author.user} sees the count of ${mid}`, () => author.groupCount(mid) === this.readers.length)
    }
    for (const mid of mids.slice(-20)) {
      const readers = (await api.readers(mid)).map(r => r.user).sort()
      assert.deepEqual(readers, this.readers.map(r => r.user).sort())
    }
    // No reader got a text twice, no author was ever told of more readers than there are.
    for (const reader of this.readers) {
      const ids = reader.got.onTextMessage.map(m => m.id)
      assert.equal(new Set(ids).size, ids.length, `${reader.user} got a text twice`)
    }
  }
}
