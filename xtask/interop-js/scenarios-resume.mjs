// Iterators that go on after the connection was cut.
//
// A guest of many-level with retry keeps the entries that it has received and not yet given, and asks for them again.
// So a connection is cut here only where it has given all: then no host may be asked for an entry twice.

import assert from 'node:assert/strict'
import { numbered, ranges, seek, select } from './expected.mjs'
import { CUT, LOSE } from './wire.mjs'

// Of different lengths, one the prefix of another, so that a wrong bound shows.
const KEYS = ['', 'aa', 'aab', 'aaz', 'ab', 'b', 'ba', 'c']
const BOUNDS = ['aab', 'b']
const LIMITS = [-1, 1, 3]
const value = (key) => `value of ${key}`

// Per connection a guest gets the first data frame of an iterator, or the first `entries` in it; when it has given
// those, the connection ends.
function oneFrame (codec, entries = Infinity) {
  const { request, answer } = codec
  return () => {
    const iterators = new Map()
    return (direction, frame) => {
      if (direction === 'request') {
        if (frame.tag === request.iteratorAck) return CUT
        if (![request.iterator, request.iteratorSeek].includes(frame.tag)) return
        const { id, seq, options } = codec.decode(direction, frame)
        const width = options && (options.keys && options.values ? 2 : 1)
        iterators.set(id, { width: width ?? iterators.get(id).width, seq, given: false })
      } else if ([answer.iteratorData, answer.iteratorEnd].includes(frame.tag)) {
        const message = codec.decode(direction, frame)
        const iterator = iterators.get(message.id)
        if (iterator.given || iterator.seq !== message.seq) return LOSE
        if (frame.tag === answer.iteratorEnd) return
        iterator.given = true
        return codec.encode(direction, frame.tag, { ...message, data: message.data.slice(0, iterator.width * entries) })
      }
    }
  }
}

// A host with these keys, and a guest whose connections are watched.
async function filled (stage, keys, watch) {
  const host = await stage.host()
  const { guest: other } = await stage.guest(host)
  await other.batch(keys.map((key) => ({ type: 'put', key, value: value(key) })))
  return { host, other, ...await stage.guest(host, { retry: true }, watch) }
}

async function afterEachEntry (stage, reverse) {
  const { guest: db, wire } = await filled(stage, KEYS, oneFrame(stage.codec, 1))
  const kinds = { iterator: (key) => [key, value(key)], keys: (key) => key, values: value }
  let iterators = 0
  for (const range of ranges(BOUNDS, LIMITS)) {
    if (range.reverse !== reverse) continue
    for (const [kind, form] of Object.entries(kinds)) {
      const before = wire.connections
      const expected = select(KEYS, range).map(form)
      assert.deepEqual(await db[kind](range).all(), expected, `${kind} ${JSON.stringify(range)}`)
      // A guest does not acknowledge what reaches its limit.
      assert.equal(wire.connections - before, expected.length - (expected.length === range.limit ? 1 : 0), 'it was cut')
      iterators++
    }
  }
  return `${iterators} iterators, ${wire.connections} connections`
}

async function afterSeeks (stage, reverse) {
  const { guest: db, wire } = await filled(stage, KEYS, oneFrame(stage.codec, 1))
  let seeks = 0
  for (const range of ranges(BOUNDS, [-1, 3])) {
    if (range.reverse !== reverse) continue
    for (const target of ['a', 'aab', 'aabb', 'b', 'd']) {
      const iterator = db.keys(range)
      const given = [await iterator.next()].filter((key) => key !== undefined)
      iterator.seek(target)
      given.push(...await iterator.all())
      const expected = [...select(KEYS, { ...range, limit: 1 }), ...seek(KEYS, target, range)]
      const limited = range.limit < 0 ? expected : expected.slice(0, range.limit)
      assert.deepEqual(given, limited, `seek to ${target} ${JSON.stringify(range)}`)
      seeks++
    }
  }
  return `${seeks} seeks, ${wire.connections} connections`
}

async function afterEachFrame (stage, reverse) {
  const keys = numbered(5000)
  const { guest: db, wire } = await filled(stage, keys, oneFrame(stage.codec))
  for (const range of [{ reverse }, { reverse, gt: keys[1000], lt: keys[4000] }, { reverse, limit: 3210 }]) {
    assert.deepEqual(await db.iterator(range).all(), select(keys, range).map((key) => [key, value(key)]))
  }
  assert.ok(wire.connections > 3, 'it was cut')
  return `${wire.connections} connections`
}

// What a host gives to a peer that asks as guests do after a reconnect, until the end.
async function resumed (peer, id, message) {
  const { request, answer } = peer.codec
  const { limit = -1, reverse = false, ...bounds } = message.range
  const options = { keys: true, values: false, limit, reverse }
  for (const [name, bound] of Object.entries(bounds)) options[name] = Buffer.from(bound)
  const { consumed } = message
  const [bookmark, seek] = [message.bookmark, message.seek].map((key) => key === undefined ? key : Buffer.from(key))
  peer.send(request.iterator, { id, seq: 0, options, consumed, bookmark, seek })
  const keys = []
  for (;;) {
    const { tag, data } = await peer.next()
    if (tag === answer.iteratorEnd) break
    assert.equal(tag, answer.iteratorData)
    keys.push(...data.map(String))
    peer.send(request.iteratorAck, { id, seq: 0, consumed: consumed + keys.length })
  }
  peer.send(request.iteratorClose, { id })
  return keys
}

// Without a guest: where the host goes on, though the bookmark is deleted, and how much of what a limit leaves.
async function behindBookmarks (stage, reverse) {
  const { host } = await filled(stage, KEYS)
  const peer = stage.peer(host)
  let id = 0
  for (const range of ranges(BOUNDS, [-1, 4])) {
    if (range.reverse !== reverse) continue
    for (const bookmark of select([...KEYS, 'a', 'aa\0', 'aabb', 'bb'], { ...range, limit: -1 })) {
      const behind = seek(KEYS, bookmark, range).filter((key) => key !== bookmark)
      for (const consumed of [1, 4]) {
        const expected = range.limit < 0 ? behind : behind.slice(0, range.limit - consumed)
        const what = `behind ${bookmark}, ${consumed} consumed, ${JSON.stringify(range)}`
        assert.deepEqual(await resumed(peer, ++id, { range, consumed, bookmark }), expected, what)
      }
    }
    for (const target of ['aab', 'abc']) {
      if (select([target], { ...range, limit: -1 }).length === 0) continue
      const expected = seek(KEYS, target, range)
      const limited = range.limit < 0 ? expected : expected.slice(0, range.limit - 2)
      assert.deepEqual(await resumed(peer, ++id, { range, consumed: 2, seek: target }), limited, `at ${target}`)
    }
  }
  return `${id} iterators`
}

// Cut without regard to what the guest has given. It gives some entries twice then, but none is missing.
async function atAnyMoment (stage) {
  const keys = numbered(4000)
  const { guest: db, wire } = await filled(stage, keys)
  const given = new Set()
  let rows = 0
  for await (const [key, read] of db.iterator()) {
    assert.equal(read, value(key))
    given.add(key)
    if (++rows % 150 === 0 && wire.connections < 20) {
      wire.cut()
      await wire.connection()
    }
  }
  assert.ok(wire.connections >= 20, 'it was cut')
  assert.deepEqual([...given].sort(), keys)
  return `${wire.connections} connections, ${rows - keys.length} entries that the guest gave twice`
}

const both = (description, scenario) => [[description, false], [`${description}, in reverse`, true]]
  .map(([name, reverse]) => [name, (stage) => scenario(stage, reverse)])

export default {
  ...Object.fromEntries([
    ...both('an iterator goes on after each entry', afterEachEntry),
    ...both('an iterator goes on after seeks', afterSeeks),
    ...both('an iterator goes on after each frame', afterEachFrame),
    ...both('a host goes on behind any bookmark', behindBookmarks)
  ]),
  'an iterator that is cut at any moment misses nothing': atAnyMoment
}
