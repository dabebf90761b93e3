// kill -9 of the server under traffic, again and again. The SDK reconnects; what was answered is
// there.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { api, closeAll, restart } from './client.mjs'
import { Traffic } from './traffic.mjs'

before(() => api.configure({ group_receipts: { enabled: true } }))
after(closeAll)

test('kill -9 loses and doubles nothing', async () => {
  const traffic = await Traffic.open('g', ['a0', 'a1', 'a2'], ['r0', 'r1', 'r2', 'r3', 'r4'])
  traffic.start()
  for (let n = 0; n < 4 || traffic.cut === 0 && n < 12; n++) {
    await traffic.flow(1000 + Math.random() * 1000)
    await restart('KILL')
  }
  await traffic.flow(1500)
  await traffic.finish()
  await traffic.exact()
  assert.ok(traffic.cut > 0, 'no kill hit a send under way')
})
