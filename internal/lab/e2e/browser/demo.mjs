// Clicks through the demo page as a visitor does, at the width of a desk and of a phone, in light
// and dark: every window is a connection of the real SDK. SHOTS=DIR keeps pictures.
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync } from 'node:fs'
import { chromium } from 'playwright-core'

const { BASE, CHROMIUM, SHOTS } = process.env
const axe = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8')
if (SHOTS) mkdirSync(SHOTS, { recursive: true })

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync']
})

// visit opens the page in a browser of its own, and fails if the browser complains or another host
// is asked.
async function visit (name, options) {
  const context = await browser.newContext({ ...options, baseURL: BASE })
  context.setDefaultTimeout(120_000)
  const page = await context.newPage()
  const wrong = []
  page.on('console', m => { if (m.type() === 'error' || m.type() === 'warning') wrong.push(`${m.type()}: ${m.text()}`) })
  page.on('pageerror', e => wrong.push(`error: ${e.stack}`))
  page.on('request', r => { if (new URL(r.url()).origin !== BASE) wrong.push(`asked ${r.url()}`) })
  try {
    await page.goto('/demo')
    await chat(page, name)
    assert.deepEqual(wrong, [], `${name}: what the browser complained about`)
  } catch (err) {
    if (SHOTS) await page.screenshot({ path: `${SHOTS}/${name}-failed.png`, fullPage: true })
    err.message = `${name}: ${err.message}`
    throw err
  } finally {
    await context.close()
  }
}

async function look (page, name) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth) - page.viewportSize().width
  assert.ok(over <= 0, `the page is ${over} pixels wider than the screen`)
  if (SHOTS) await page.screenshot({ path: `${SHOTS}/${name}.png`, fullPage: true })
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document))
  assert.deepEqual(violations.map(v => `${v.id}: ${v.help}: ${v.nodes.map(n => n.html).join(' ')}`), [], `${name}: accessibility`)
}

async function chat (page, name) {
  const person = who => page.getByRole('article', { name: `${who}'s window` })
  const [ann, ben, cleo] = ['Ann', 'Ben', 'Cleo'].map(person)
  const other = who => page.getByRole('button', { name: `Read, as ${who}` })
  const write = async (w, text) => {
    await w.getByRole('textbox').fill(text)
    await w.getByRole('button', { name: 'Send' }).click()
  }
  const open = (w, who) => w.getByRole('tab', { name: who }).click()
  const shows = (w, text) => w.getByText(text, { exact: true }).waitFor()

  for (const w of [ann, ben, cleo]) await shows(w, 'Online')
  if (name.startsWith('desk')) await look(page, `${name}-empty`)

  // The team: whoever is not in a window has the message, and has not read it.
  await write(ann, 'Lunch at noon? The new place by the river.')
  await shows(ann, 'Read by 0 of 5')
  await shows(ben, 'Lunch at noon? The new place by the river.')
  await ben.getByRole('textbox').click() // Ben enters his window, and so reads it
  await shows(ann, 'Read by 1 of 5')
  await cleo.getByRole('log').click()
  await shows(ann, 'Read by 2 of 5') // readers are listed in the order of their reads
  await other('Dan').click()
  await ann.getByRole('button', { name: 'Read by 3 of 5' }).click()
  const readers = ann.locator('.readers')
  await readers.getByText('Not yet').waitFor()
  assert.deepEqual((await readers.locator('li').allTextContents()).map(s => s.slice(1)), ['Ben', 'Cleo', 'Dan', 'Eve', 'Finn'])

  // Single chat: delivered to a window that its person is not in, then read.
  await open(ben, 'Ann')
  await write(ben, 'Are you bringing the slides?')
  await ben.locator('.tick', { hasText: 'Delivered' }).waitFor()
  await ann.locator('.badge').waitFor()
  await open(ann, 'Ben')
  await ben.locator('.tick', { hasText: 'Read' }).waitFor()
  await write(ann, 'Yes, and the numbers.')
  await shows(ben, 'Yes, and the numbers.')
  await ann.locator('.tick', { hasText: 'Delivered' }).waitFor()
  await look(page, `${name}-chat`)

  // Away: the author misses reads, and gets one summary; a reader gets the messages.
  await open(ann, 'Team')
  const online = w => w.locator('.switch')
  await online(cleo).click()
  await cleo.getByRole('status').filter({ hasText: 'Offline' }).waitFor()
  await write(ann, 'Room 4 is booked.')
  await shows(ann, 'Read by 0 of 5')
  await online(ann).click()
  await ann.getByRole('status').filter({ hasText: 'Offline' }).waitFor()
  await other('Eve').click()
  await other('Finn').click()
  await online(cleo).click()
  await shows(cleo, 'Room 4 is booked.')
  await look(page, `${name}-away`)
  await online(ann).click()
  // Eve and Finn read both messages, Cleo the second, as she is the one in her window.
  await ann.getByText('While you were away: 5 reads of 2 messages').waitFor()
  await ann.getByRole('button', { name: 'Read by all 5' }).waitFor()
  await ann.getByRole('button', { name: 'Read by 3 of 5' }).waitFor()
  await look(page, `${name}-back`)
}

const desk = { viewport: { width: 1360, height: 820 } }
const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }
try {
  await visit('desk-light', { ...desk, colorScheme: 'light' })
  await visit('phone-dark', { ...phone, colorScheme: 'dark' })
  if (SHOTS) {
    await visit('desk-dark', { ...desk, colorScheme: 'dark' })
    await visit('phone-light', { ...phone, colorScheme: 'light' })
  }
} finally {
  await browser.close()
}
