// The window of a person.
import { DELIVERED, FAILED, READ, SENDING, TEAM } from './person.js'

const marks = {
  [SENDING]: ['Sending', 'M12 7v5l3 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18'],
  1: ['Sent', 'M5 13l4 4L18 7'],
  [DELIVERED]: ['Delivered', 'M2 13l4 4L15 7M11.5 15.5 13 17 22 7'],
  [READ]: ['Read', 'M2 13l4 4L15 7M11.5 15.5 13 17 22 7'],
  [FAILED]: ['Not sent', 'M12 6v7M12 17v.5']
}

export function element (name, attributes = {}, ...children) {
  const e = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) e.addEventListener(key.slice(2), value)
    else if (value === true) e.setAttribute(key, '')
    else if (value !== false) e.setAttribute(key, value)
  }
  e.append(...children)
  return e
}

export function avatar (person, index) {
  return element('span', { class: `avatar c${index}`, 'aria-hidden': 'true' }, person[0])
}

// tick is the mark beside one's own message.
function tick (status) {
  const [word, path] = marks[status]
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('aria-hidden', 'true')
  const p = document.createElementNS('http://www.w3.org/2000/svg', 'path')
  p.setAttribute('d', path)
  svg.append(p)
  return element('span', { class: `tick s${status}` }, svg, word)
}

const clock = ms => new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })

export class ChatWindow {
  active = false
  #person; #chat; #parts; #shown = new Map()

  constructor (person) {
    this.#person = person
    this.#chat = person.chats.get(TEAM)
    this.root = document.getElementById('window').content.firstElementChild.cloneNode(true)
    const find = selector => this.root.querySelector(selector)
    this.#parts = {
      state: find('.state'), online: find('.switch input'), chats: find('.chats'), log: find('.log'), text: find('.text'), ask: find('.ask'),
      asks: find('.ask input'), button: find('.composer button'), form: find('.composer')
    }
    this.root.id = person.name.toLowerCase()
    this.root.setAttribute('aria-label', `${person.name}'s window`)
    find('.avatar').replaceWith(avatar(person.name, person.index))
    find('h2').textContent = person.name
    this.#parts.log.setAttribute('aria-label', `Messages ${person.name} sees`)
    this.#parts.online.addEventListener('change', event => event.target.checked ? person.connect() : person.disconnect())
    this.#parts.form.addEventListener('submit', event => this.#submit(event))
    person.addEventListener('change', () => this.draw())
    this.draw()
  }

  // enter makes it the window its person is in: what it shows is read.
  enter () {
    this.active = true
    this.root.classList.add('active')
    this.#person.read(this.#chat, true)
  }

  leave () {
    this.active = false
    this.root.classList.remove('active')
  }

  #submit (event) {
    event.preventDefault()
    const text = this.#parts.text.value.trim()
    if (!text || !this.#person.online) return
    this.#parts.text.value = ''
    this.#person.send(this.#chat, text, this.#parts.asks.checked)
  }

  #open (chat) {
    this.#chat = chat
    this.#shown.clear()
    this.#parts.log.replaceChildren()
    this.draw()
    if (this.active) this.#person.read(chat, true)
  }

  draw () {
    const { state, online, text, ask, button } = this.#parts
    const person = this.#person
    this.root.dataset.state = person.state
    state.textContent = person.trouble || { online: 'Online', connecting: 'Connecting…', offline: 'Offline' }[person.state]
    online.checked = person.state !== 'offline'
    text.disabled = button.disabled = !person.online
    text.placeholder = person.online ? `Message ${this.#chat.key === TEAM ? 'the team' : this.#chat.name}` : 'Offline'
    text.setAttribute('aria-label', text.placeholder)
    ask.hidden = this.#chat.key !== TEAM
    this.#drawChats()
    this.#drawLog()
    if (this.active) person.read(this.#chat, false)
  }

  #drawChats () {
    const focused = this.#parts.chats.contains(document.activeElement) && document.activeElement.dataset.key
    const tabs = [...this.#person.chats.values()].map(chat => element('button', {
      type: 'button', role: 'tab', 'data-key': chat.key, 'aria-selected': String(chat === this.#chat), onclick: () => this.#open(chat)
    }, chat.name, ...(chat.unread ? [element('span', { class: 'badge' }, String(chat.unread), element('span', { class: 'hidden' }, ' unread'))] : [])))
    this.#parts.chats.replaceChildren(...tabs)
    if (focused) tabs.find(tab => tab.dataset.key === focused)?.focus()
  }

  #drawLog () {
    const { log } = this.#parts
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60
    const { messages } = this.#chat
    if (messages.length === 0) {
      log.replaceChildren(element('div', { class: 'empty' }, this.#chat.key === TEAM
        ? 'Write to the team. Under your message you see who has read it.'
        : `Write to ${this.#chat.name}. The marks beside your message say how far it got.`))
      return
    }
    log.querySelector('.empty')?.remove()
    messages.forEach((message, i) => {
      const content = JSON.stringify([message.status, message.count, message.trouble, message.unread])
      let shown = this.#shown.get(message)
      if (!shown) {
        shown = { node: element('div') }
        this.#shown.set(message, shown)
        log.append(shown.node)
      }
      if (shown.content !== content) {
        shown.content = content
        this.#drawMessage(shown, message, messages[i - 1])
      }
    })
    if (atEnd || messages.at(-1).status === SENDING) log.scrollTop = log.scrollHeight
  }

  #drawMessage (shown, message, before) {
    if (message.note) {
      shown.node.className = 'note'
      shown.node.replaceChildren(message.note)
      return
    }
    const follows = before && !before.note && before.from === message.from
    shown.node.className = [message.mine ? 'mine' : 'theirs', follows ? 'follows' : '', message.unread ? 'unread' : ''].join(' ')
    const parts = []
    if (!message.mine && !follows && this.#chat.key === TEAM) {
      parts.push(element('span', { class: `name c${this.#person.indexOf(message.from)}` }, this.#person.nameOf(message.from)))
    }
    parts.push(element('p', { class: 'bubble' }, message.text))
    const foot = element('span', { class: 'foot' }, element('time', {}, clock(message.time)))
    if (message.mine && this.#chat.key === TEAM && message.asks && message.status > SENDING) foot.append(this.#readBy(shown, message))
    else if (message.mine) foot.append(tick(message.status))
    if (message.trouble) foot.append(element('span', { class: 'trouble' }, message.trouble))
    parts.push(foot)
    if (shown.open) parts.push(shown.list ??= element('div', { class: 'readers' }))
    const focused = shown.node.contains(document.activeElement)
    shown.node.replaceChildren(...parts)
    if (focused) shown.node.querySelector('button')?.focus()
    if (shown.open) this.#fill(shown, message)
  }

  #readBy (shown, message) {
    const { eligible } = this.#person
    const all = message.count >= eligible
    return element('button', {
      type: 'button', class: `read-by ${all ? 'all' : message.count ? 'some' : ''}`, 'aria-expanded': String(Boolean(shown.open)),
      onclick: () => {
        shown.open = !shown.open
        shown.content = undefined
        this.draw()
      }
    }, tick(message.count ? READ : 1).firstChild, all ? `Read by all ${eligible}` : `Read by ${message.count} of ${eligible}`)
  }

  // fill lists the readers, as the server tells them.
  async #fill (shown, message) {
    const list = (title, users) => users.length
      ? [element('h3', {}, title), element('ul', {}, ...users.map(user => {
          const name = this.#person.nameOf(user)
          return element('li', {}, avatar(name, this.#person.indexOf(user)), name)
        }))]
      : []
    try {
      const { readers, others } = await this.#person.readers(message)
      shown.list.replaceChildren(...list('Read, in this order', readers), ...list('Not yet', others))
      if (this.#chat.messages.at(-1) === message) this.#parts.log.scrollTop = this.#parts.log.scrollHeight
    } catch (err) {
      shown.list.replaceChildren(element('p', { class: 'trouble' }, this.#person.online ? err.message : 'Not known while offline'))
    }
  }
}
