// Connections that end while a guest waits: with retry it asks again, without it hears that the connection was lost.

import assert from 'node:assert/strict'
import { numbered } from './expected.mjs'
import { CUT, HALVE } from './wire.mjs'

// Where a connection may end. A request that did not arrive whole must not take effect; one whose answer was on its way
// has taken effect.
const PLACES = [
  { direction: 'request', verdict: CUT },
  { direction: 'request', verdict: HALVE },
  { direction: 'answer', verdict: CUT },
  { direction: 'answer', verdict: HALVE }
]
// How often in a row the same request is cut.
const TIMES = [1, 2, 5]

const put = (key, value) => ({ type: 'put', key, value })

// One operation of each kind: how it is named on the wire, on which answer to cut, what it does to a database with the
// key `old`, and the keys and result that must come of it.
const OPERATIONS = {
  get: { answer: 'callback', run: (db) => db.get('old'), result: 'value' },
  getMany: { answer: 'getManyCallback', run: (db) => db.getMany(['old', 'none']), result: ['value', undefined] },
  put: { answer: 'callback', run: (db) => db.put('new', 'value'), after: ['new', 'old'] },
  del: { answer: 'callback', run: (db) => db.del('old'), after: [] },
  batch: {
    answer: 'callback',
    run: (db) => db.batch([put('a', '1'), { type: 'del', key: 'old' }, put('b', '')]),
    after: ['a', 'b']
  },
  clear: { answer: 'callback', run: (db) => db.clear({ gte: 'old' }), after: [] },
  iterator: { answer: 'iteratorData', run: (db) => db.iterator().all(), result: [['old', 'value']] }
}

// Cuts the next requests of a kind, or the answers to them, as often as it is told.
class Cutter {
  left = 0

  watch (codec, kind, answer) {
    return () => (direction, { tag }) => {
      const meant = tag === (direction === 'request' ? codec.request[kind] : codec.answer[answer])
      if (this.left === 0 || direction !== this.direction || !meant) return
      this.left--
      return this.verdict
    }
  }

  arm ({ direction, verdict }, times) {
    Object.assign(this, { direction, verdict, left: times })
  }
}

// A host with one key; a guest whose connection is cut, and one whose connection is not.
async function cast (stage, kind, retry) {
  const host = await stage.host()
  const cutter = new Cutter()
  const watch = cutter.watch(stage.codec, kind, OPERATIONS[kind].answer)
  const { guest: db, wire } = await stage.guest(host, { retry }, watch)
  const { guest: other } = await stage.guest(host, { retry: true })
  const reset = async () => {
    await other.clear()
    await other.put('old', 'value')
  }
  return { cutter, db, other, reset, wire }
}

async function cutWithRetry (stage, kind) {
  const { run, result, after = ['old'] } = OPERATIONS[kind]
  const { cutter, db, other, reset, wire } = await cast(stage, kind, true)
  for (const place of PLACES) {
    for (const times of TIMES) {
      await reset()
      cutter.arm(place, times)
      const got = await run(db)
      assert.equal(cutter.left, 0, 'it was cut')
      assert.deepEqual(got, result)
      assert.deepEqual(await other.keys().all(), after)
    }
  }
  return `${wire.connections} connections`
}

async function cutWithoutRetry (stage, kind) {
  const { run, result, after = ['old'] } = OPERATIONS[kind]
  const { cutter, db, other, reset } = await cast(stage, kind, false)
  for (const place of PLACES) {
    await reset()
    cutter.arm(place, 1)
    await assert.rejects(run(db), { code: 'LEVEL_CONNECTION_LOST' })
    assert.equal(cutter.left, 0, 'it was cut')
    assert.deepEqual(await other.keys().all(), place.direction === 'request' ? ['old'] : after)
    await reset()
    assert.deepEqual(await run(db), result, 'on the next connection')
    assert.deepEqual(await other.keys().all(), after)
  }
  return 'lost, and right on the next connection'
}

// Hundreds of operations of every kind wait whenever the connection ends.
async function cutInFlight (stage) {
  const COUNT = 200
  const CUTS = 10
  const host = await stage.host()
  const { guest: other } = await stage.guest(host, { retry: true })
  const old = numbered(COUNT).map((key) => `old${key}`)
  await other.batch(['', 'out'].flatMap((prefix) => old.map((key) => put(prefix + key, key))))

  // There are more than a thousand answers; the connection ends after a hundred, again and again.
  let cuts = 0
  const watch = () => {
    let left = 100
    return (direction) => {
      if (cuts < CUTS && direction === 'answer' && --left === 0) {
        cuts++
        return cuts % 2 ? CUT : HALVE
      }
    }
  }
  const { guest: db } = await stage.guest(host, { retry: true }, watch)
  const waiting = []
  for (const key of old) {
    waiting.push(
      db.put(`new${key}`, key),
      db.get(key).then((value) => assert.equal(value, key)),
      db.batch([put(`one${key}`, key), put(`two${key}`, key)]),
      db.getMany([key, `none${key}`]).then((values) => assert.deepEqual(values, [key, undefined])),
      db.get(`none${key}`).then(() => assert.fail('a missing key'), ({ code }) => assert.equal(code, 'LEVEL_NOT_FOUND')),
      db.clear({ gte: `gap${key}`, lt: `gap${key}~` }),
      db.del(`out${key}`)
    )
  }
  await Promise.all(waiting)
  assert.equal(cuts, CUTS)
  const all = await other.iterator().all()
  const expected = ['new', '', 'one', 'two'].flatMap((prefix) => old.map((key) => [prefix + key, key]))
  assert.deepEqual(all, expected)
  return `${waiting.length} operations, cut ${cuts} times`
}

async function waitForTheFirstConnection (stage) {
  const host = await stage.host()
  const { guest: other } = await stage.guest(host)
  await other.put('old', 'value')
  const db = new stage.ManyLevelGuest({ retry: true })
  const waiting = [db.get('old'), db.put('new', '1'), db.getMany(['new']), db.keys().all()]
  await db.open()
  stage.connect(db, host)
  assert.deepEqual(await Promise.all(waiting), ['value', undefined, ['1'], ['new', 'old']])
  return 'answered'
}

// A guest asks again on its next connection. What the host still had from the connection before must not undo that.
async function undoesNothing (stage) {
  const ROUNDS = 50
  const host = await stage.host()
  const { request } = stage.codec
  const keys = numbered(ROUNDS)
  for (const key of keys) {
    const before = stage.peer(host)
    for (let id = 0; id < 400; id++) {
      before.send(request.put, { id, key: Buffer.from(`other${id}`), value: Buffer.alloc(0) })
      before.send(request.clear, { id, options: { gt: Buffer.from('~'), limit: -1, reverse: false } })
    }
    before.send(request.del, { id: 400, key: Buffer.from(key) })
    await before.next()
    await before.close()
    const after = stage.peer(host)
    after.send(request.put, { id: 1, key: Buffer.from(key), value: Buffer.alloc(0) })
    await after.next()
    await after.close()
  }
  const { guest: db } = await stage.guest(host)
  assert.deepEqual(await db.keys({ lt: 'other' }).all(), keys)
  return `${ROUNDS} puts after connections with as many deletions`
}

export default {
  'a guest that connects late': waitForTheFirstConnection,
  ...Object.fromEntries(Object.keys(OPERATIONS).flatMap((kind) => [
    [`${kind} with retry, cut`, (stage) => cutWithRetry(stage, kind)],
    [`${kind} without retry, cut`, (stage) => cutWithoutRetry(stage, kind)]
  ])),
  'hundreds of operations in flight, cut again and again': cutInFlight,
  'a connection that has ended undoes nothing': undoesNothing
}
