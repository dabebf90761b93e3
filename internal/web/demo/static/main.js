// The page: windows side by side, and the rest of the team below.
import { available, Person, TEAM } from './person.js'
import { avatar, ChatWindow, element } from './window.js'

const windowCount = 3

function notice (text) {
  const e = document.querySelector('.notice')
  e.textContent = text
  e.hidden = false
}

async function begin () {
  const answer = await fetch('demo/visits', { method: 'POST' })
  if (!answer.ok) throw new Error(answer.status === 429 ? 'Too many visitors at this moment. Load the page again.' : 'The server could not begin a chat; its log says why.')
  return answer.json()
}

function openWindows (people) {
  const windows = people.map(person => new ChatWindow(person))
  const enter = target => {
    const next = windows.find(w => w.root.contains(target))
    if (!next) return
    for (const w of windows) if (w !== next) w.leave()
    if (!next.active) next.enter()
  }
  document.addEventListener('pointerdown', event => enter(event.target))
  document.addEventListener('focusin', event => enter(event.target))
  document.querySelector('.windows').append(...windows.map(w => w.root))
  document.querySelector('.jump').append(...people.map((person, i) => {
    const badge = element('span', { class: 'badge' })
    const draw = () => { badge.textContent = person.unread || ''; badge.hidden = !person.unread }
    person.addEventListener('change', draw)
    draw()
    return element('button', {
      type: 'button',
      onclick: () => { windows[i].root.scrollIntoView({ behavior: 'smooth', inline: 'center', block: 'nearest' }); enter(windows[i].root) }
    }, avatar(person.name, i), person.name, badge)
  }))
  enter(windows[0].root)
}

// other is a person without a window: there, but reading only when told.
function other (person) {
  const state = element('span', { class: 'state' })
  const button = element('button', { type: 'button', onclick: () => person.read(person.chats.get(TEAM), true) }, 'Read')
  const draw = () => {
    const { unread } = person.chats.get(TEAM)
    state.textContent = !person.online ? person.state : unread ? `${unread} unread` : 'nothing unread'
    button.disabled = !unread || !person.online
    button.setAttribute('aria-label', `Read, as ${person.name}`)
  }
  person.addEventListener('change', draw)
  draw()
  return element('div', { class: 'other' }, avatar(person.name, person.index), element('div', {}, element('b', {}, person.name), state), button)
}

try {
  if (!available) throw new Error('The SDK could not be loaded. It must be the main bundle of easemob-websdk.')
  const visit = await begin()
  const people = visit.people.map((_, i) => new Person(visit, i))
  const inWindows = people.slice(0, windowCount)
  for (const person of inWindows) for (const peer of inWindows) if (peer !== person) person.addPeer(peer.index)
  openWindows(inWindows)
  document.querySelector('.others').append(element('h2', {}, 'Also in the team'), ...people.slice(windowCount).map(other))
  for (const person of people) person.connect()
} catch (err) {
  notice(err.message)
}
