// Hosts that leave, are killed, or only let read; and guests that close.

import assert from 'node:assert/strict'
import { numbered } from './expected.mjs'
import { listens } from './rave-host.mjs'

const text = (index) => `value ${index}`

async function readOnly (stage) {
  const writable = await stage.host()
  const { guest: first, wire } = await stage.guest(writable)
  await first.batch(['a', 'b', 'c'].map((key) => ({ type: 'put', key, value: key })))
  wire.close()
  await writable.stop()

  const host = await stage.host({ again: writable, readOnly: true })
  const { guest: db } = await stage.guest(host)
  const refused = { code: 'LEVEL_READONLY' }
  await assert.rejects(db.put('a', '1'), refused)
  await assert.rejects(db.del('a'), refused)
  await assert.rejects(db.batch([{ type: 'del', key: 'a' }, { type: 'put', key: 'd', value: '' }]), refused)
  await assert.rejects(db.clear(), refused)
  await assert.rejects(db.clear({ gt: 'a', limit: 1, reverse: true }), refused)
  await assert.rejects(db.sublevel('sub').put('a', '1'), refused)
  // In one go, between reads.
  const answers = await Promise.allSettled([db.get('a'), db.put('a', '1'), db.get('a'), db.clear(), db.get('a')])
  const told = answers.map(({ value, reason }) => value ?? reason?.code)
  assert.deepEqual(told, ['a', refused.code, 'a', refused.code, 'a'])
  assert.equal(await db.get('b'), 'b')
  assert.deepEqual(await db.getMany(['c', 'd']), ['c', undefined])
  assert.deepEqual(await db.keys({ reverse: true, limit: 2 }).all(), ['c', 'b'])
  return 'writes refused, reads right'
}

// Guests that write one after the other and many at once; `disturb` is called after every `each` writes, as long as it
// gives something to wait for.
async function writing (guests, count, each, disturb) {
  const acknowledged = []
  let disturbed = Promise.resolve()
  let turns = 0
  const done = (key) => {
    acknowledged.push(key)
    if (Math.floor(acknowledged.length / each) > turns) {
      turns++
      disturbed = disturbed.then(() => disturb([...acknowledged]))
    }
  }
  await Promise.all(guests.map(async (db, index) => {
    const keys = numbered(count).map((key) => `${index}-${key}`)
    for (let at = 0; at < count;) {
      const together = keys.slice(at, at += 1 + at % 17)
      await Promise.all(together.map((key) => db.put(key, text(key)).then(() => done(key))))
    }
  }))
  await disturbed
  return acknowledged
}

async function contains (db, keys) {
  const found = new Map(await db.iterator().all())
  for (const key of keys) assert.equal(found.get(key), text(key), `${key}, which was acknowledged`)
  return found.size
}

// A host goes in the midst of writes, and another takes its place on the same socket and directory.
async function replaced (stage, end) {
  const GUESTS = 3
  const COUNT = 1000
  let host = await stage.host()
  let hosts = 1
  const guests = []
  for (let index = 0; index < GUESTS; index++) guests.push((await stage.guest(host, { retry: true })).guest)
  const acknowledged = await writing(guests, COUNT, 250, async (before) => {
    await end(host)
    host = await stage.host({ again: host })
    hosts++
    await contains((await stage.guest(host)).guest, before)
  })
  assert.equal(acknowledged.length, GUESTS * COUNT)
  assert.ok(hosts > 5, 'it was replaced')
  assert.equal(await contains(guests[0], acknowledged), GUESTS * COUNT)
  return `${acknowledged.length} acknowledged writes, ${hosts} hosts`
}

// Without retry every write that was not acknowledged fails, and every one that was is there.
async function withoutRetry (stage, end) {
  const host = await stage.host()
  const { guest: db } = await stage.guest(host)
  const acknowledged = []
  const codes = new Set()
  const keys = numbered(2000)
  let ended
  await Promise.all(keys.map((key) => db.put(key, text(key)).then(() => {
    acknowledged.push(key)
    if (acknowledged.length === 50) ended = end(host)
  }, ({ code }) => codes.add(code))))
  await ended
  assert.ok([...codes].every((code) => code === 'LEVEL_CONNECTION_LOST'), [...codes].join())
  const { guest: later } = await stage.guest(await stage.host({ again: host }))
  await contains(later, acknowledged)
  return `${acknowledged.length} acknowledged, ${keys.length - acknowledged.length} lost with the connection`
}

// What a host that leaves has answered is applied, and nothing else. The peer sends no more than the connection takes at
// once, and nothing when the host is to leave: a socket that cannot write any more may drop what it has received.
async function leavesNothingHalfDone (stage) {
  const WINDOW = 1000
  const COUNT = 5000
  const host = await stage.host()
  const peer = stage.peer(host)
  const { request, answer } = stage.codec
  let sent = 0
  const send = () => {
    peer.send(request.put, { id: sent, key: Buffer.from(text(sent)), value: Buffer.alloc(0) })
    sent++
  }
  while (sent < WINDOW) send()
  const answered = new Set()
  let stopped
  for (let message; (message = await peer.next()) !== null;) {
    if (message.tag !== answer.callback) continue
    if (!message.error) answered.add(text(message.id))
    if (answered.size < COUNT) send()
    else stopped ??= host.stop()
  }
  await stopped
  assert.equal(await listens(host.path), false)
  const { guest: later } = await stage.guest(await stage.host({ again: host }))
  assert.deepEqual(await later.keys().all(), [...answered].sort())
  return `${answered.size} of ${sent} puts answered and applied`
}

// An iterator goes on through one host after the other.
async function iteratesOn (stage) {
  let host = await stage.host()
  const { guest: db, wire } = await stage.guest(host, { retry: true })
  const keys = numbered(3000)
  await db.batch(keys.map((key) => ({ type: 'put', key, value: text(key) })))
  const given = new Set()
  let rows = 0
  for await (const [key, value] of db.iterator()) {
    assert.equal(value, text(key))
    given.add(key)
    if (++rows % 500 === 0 && rows <= 2500) {
      const connected = wire.connection()
      await (rows % 1000 ? host.stop() : host.kill())
      host = await stage.host({ again: host })
      await connected
    }
  }
  assert.deepEqual([...given].sort(), keys)
  return `${wire.connections} hosts`
}

// A guest closes while hundreds of its operations wait.
async function guestCloses (stage) {
  const host = await stage.host()
  const { guest: other } = await stage.guest(host)
  await other.batch(numbered(500).map((key) => ({ type: 'put', key, value: text(key) })))
  let waited = 0
  for (const retry of [false, true]) {
    for (const ticks of [0, 1, 5]) {
      const { guest: db, wire } = await stage.guest(host, { retry })
      const waiting = numbered(100).flatMap((key) => [
        db.get(key),
        db.put(`new${key}`, key),
        db.getMany([key]),
        db.clear({ gt: '~' }),
        db.iterator().all(),
        db.batch([{ type: 'del', key: `none${key}` }])
      ])
      const settled = Promise.allSettled(waiting)
      for (let tick = 0; tick < ticks; tick++) await new Promise(setImmediate)
      await db.close()
      wire.close()
      const codes = (await settled).map(({ reason }) => reason?.code).filter((code) => code !== undefined)
      for (const code of codes) assert.ok(['LEVEL_DATABASE_NOT_OPEN', 'LEVEL_ITERATOR_NOT_OPEN'].includes(code), code)
      assert.ok(ticks > 0 || codes.length === waiting.length, 'at once')
      await assert.rejects(db.get('a'), { code: 'LEVEL_DATABASE_NOT_OPEN' })
      waited += waiting.length
    }
  }
  assert.deepEqual(await other.keys({ lt: 'new' }).all(), numbered(500))
  await other.put('after', 'all')
  return `${waited} operations, and the host served another guest`
}

export default {
  'a host that only lets read': readOnly,
  'hosts leave in the midst of writes': (stage) => replaced(stage, (host) => host.stop()),
  'hosts are killed in the midst of writes': (stage) => replaced(stage, (host) => host.kill()),
  'a host leaves guests without retry': (stage) => withoutRetry(stage, (host) => host.stop()),
  'a host is killed under guests without retry': (stage) => withoutRetry(stage, (host) => host.kill()),
  'a host that leaves has applied what it answered, and nothing else': leavesNothingHalfDone,
  'an iterator goes on through many hosts': iteratesOn,
  'a guest closes with operations in flight': guestCloses
}
