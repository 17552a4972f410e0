// Many guests, many operations at once, and the order in which those of one guest take effect.

import assert from 'node:assert/strict'
import { numbered, select } from './expected.mjs'

const put = (key, value) => ({ type: 'put', key, value })

async function manyGuests (stage) {
  const GUESTS = 8
  const host = await stage.host()
  const keys = numbered(250)
  await Promise.all(Array.from({ length: GUESTS }, async (_, index) => {
    const { guest: db } = await stage.guest(host, { retry: index % 2 === 0 })
    const own = keys.map((key) => `${index}/${key}`)
    await Promise.all(own.flatMap((key) => [
      db.put(key, key),
      db.get(key).then((value) => assert.equal(value, key)),
      db.batch([{ type: 'put', key: `${key}+`, value: key }, { type: 'del', key }]),
      db.getMany([key, `${key}+`]).then((values) => assert.deepEqual(values, [undefined, key]))
    ]))
    const expected = own.map((key) => [`${key}+`, key])
    assert.deepEqual(await db.iterator({ gt: `${index}/`, lt: `${index}0` }).all(), expected)
  }))
  const { guest: db } = await stage.guest(host)
  assert.equal((await db.keys().all()).length, GUESTS * keys.length)
  return `${GUESTS} guests, ${4 * keys.length} operations of each in flight`
}

// Whatever is sent later takes effect later, and every read sees what was sent before it; another guest interferes.
async function inOrder (stage) {
  const ROUNDS = 400
  const host = await stage.host()
  const { guest: db } = await stage.guest(host)
  const { guest: noise } = await stage.guest(host)
  // A value that is not there yet is as wrong as another one.
  const absent = (error) => error.code === 'LEVEL_NOT_FOUND' ? undefined : Promise.reject(error)
  const sees = (promise, expected) => promise.catch(absent).then((seen) => assert.deepEqual(seen, expected))
  const missing = (promise) => assert.rejects(promise, { code: 'LEVEL_NOT_FOUND' })
  const waiting = []
  for (let round = 0; round < ROUNDS; round++) {
    const value = `${round}`
    waiting.push(
      db.put('x', value),
      sees(db.get('x'), value),
      db.batch([put('x', 'no'), put('y', value), put('x', value)]),
      sees(db.getMany(['x', 'y']), [value, value]),
      sees(db.keys({ lt: '~' }).all(), ['x', 'y']),
      db.del('x'),
      missing(db.get('x')),
      db.put('z', value),
      db.clear({ gte: 'y', lt: 'z' }),
      sees(db.getMany(['x', 'y', 'z']), [undefined, undefined, value]),
      db.del('z'),
      sees(db.values({ lt: '~' }).all(), []),
      noise.put(`~${round}`, value),
      noise.del(`~${round}`)
    )
    // Now and then alone, so that the host does not always find many at once.
    if (round % 40 === 0) await Promise.all(waiting)
  }
  await Promise.all(waiting)
  return `${waiting.length} operations`
}

// A batch is there for others as a whole or not at all, and an iterator sees the state of its beginning.
async function atomic (stage) {
  const host = await stage.host()
  const { guest: writer } = await stage.guest(host)
  const { guest: reader } = await stage.guest(host)
  const keys = numbered(50)
  const batch = (value) => writer.batch(keys.map((key) => ({ type: 'put', key, value })))
  await batch('first')
  let writing = true
  let reads = 0
  const readers = Array.from({ length: 4 }, async (_, index) => {
    while (writing) {
      const values = await reader.values({ reverse: index % 2 === 0 }).all()
      assert.equal(values.length, keys.length)
      assert.equal(new Set(values).size, 1, 'values of two batches')
      reads++
    }
  })
  for (let round = 0; round < 300; round++) await batch(`${round}`)
  writing = false
  await Promise.all(readers)

  const iterator = reader.iterator()
  assert.deepEqual(await iterator.next(), [keys[0], '299'])
  await writer.clear()
  assert.deepEqual(await iterator.all(), keys.slice(1).map((key) => [key, '299']))
  assert.deepEqual(await reader.keys().all(), [])
  return `${reads} scans beside 300 batches`
}

async function manyIterators (stage) {
  const ITERATORS = 200
  const host = await stage.host()
  const { guest: db } = await stage.guest(host)
  const keys = numbered(1000)
  await db.batch(keys.map((key) => ({ type: 'put', key, value: key })))
  // All open at once, read in turns, with seeks; some are left when others go on.
  const iterators = Array.from({ length: ITERATORS }, (_, index) => {
    const range = { gte: keys[index], reverse: index % 2 === 1, limit: 300 }
    return { iterator: db.keys(range), rest: select(keys, range) }
  })
  for (let turn = 0; turn < 20; turn++) {
    await Promise.all(iterators.map(async ({ iterator, rest }) => {
      assert.deepEqual(await iterator.next(), rest.shift())
    }))
  }
  await Promise.all(iterators.filter((_, index) => index % 4 === 0).map(({ iterator }) => iterator.close()))
  await Promise.all(iterators.filter((_, index) => index % 4 !== 0).map(async ({ iterator, rest }) => {
    assert.deepEqual(await iterator.all(), rest)
  }))
  return `${ITERATORS} iterators`
}

// A guest that does not take its answers holds up nobody else.
async function slowReader (stage) {
  const host = await stage.host()
  const { guest: db } = await stage.guest(host)
  const value = 'v'.repeat(100_000)
  const keys = numbered(300)
  for (let at = 0; at < keys.length; at += 50) {
    await db.batch(keys.slice(at, at + 50).map((key) => ({ type: 'put', key, value })))
  }
  const slow = stage.peer(host)
  const { request } = stage.codec
  slow.socket.pause()
  for (let id = 1; id <= 20; id++) slow.send(request.getMany, { id, keys: keys.map((key) => Buffer.from(key)) })
  for (let round = 0; round < 100; round++) {
    await db.put('other', `${round}`)
    assert.equal(await db.get('other'), `${round}`)
  }
  assert.equal((await db.values({ lt: 'other' }).all()).length, keys.length)
  return `${keys.length * 20 / 10} MB not taken`
}

async function bigValues (stage) {
  const host = await stage.host()
  const { guest: db } = await stage.guest(host, { valueEncoding: 'buffer' })
  const { guest: other } = await stage.guest(host, { valueEncoding: 'buffer' })
  const big = (seed) => Buffer.alloc(10_000_000, Buffer.from(`${seed} is what it says, `))
  await Promise.all([
    db.put('a', big('a')),
    db.batch([put('b', big('b')), put('c', big('c'))]),
    db.put('small', Buffer.from('1'))
  ])
  assert.ok((await other.get('a')).equals(big('a')))
  const [b, none, c, small] = await other.getMany(['b', 'none', 'c', 'small'])
  assert.ok(b.equals(big('b')) && none === undefined && c.equals(big('c')) && small.equals(Buffer.from('1')))
  const read = []
  for await (const [key, value] of other.iterator({ reverse: true })) {
    assert.ok(value.equals(key === 'small' ? small : big(key)), key)
    read.push(key)
  }
  assert.deepEqual(read, ['small', 'c', 'b', 'a'])
  return 'values of 10 MB'
}

async function manyKeys (stage) {
  const host = await stage.host()
  const { guest: db } = await stage.guest(host)
  const keys = numbered(50_000)
  const batches = []
  for (let at = 0; at < keys.length; at += 1000) {
    batches.push(db.batch(keys.slice(at, at + 1000).map((key) => ({ type: 'put', key, value: `value of ${key}` }))))
  }
  await Promise.all(batches)
  assert.deepEqual(await db.keys().all(), keys)
  const last = [...keys].reverse().slice(0, 20_000).map((key) => `value of ${key}`)
  assert.deepEqual(await db.values({ reverse: true, limit: 20_000 }).all(), last)
  const some = keys.filter((_, index) => index % 7 === 0)
  assert.deepEqual(await db.getMany(some), some.map((key) => `value of ${key}`))
  await db.clear({ limit: 10_000 })
  await db.clear({ reverse: true, limit: 10_000 })
  await db.clear({ gte: keys[20_000], lt: keys[30_000] })
  assert.deepEqual(await db.keys().all(), [...keys.slice(10_000, 20_000), ...keys.slice(30_000, 40_000)])
  return `${keys.length} keys`
}

export default {
  'many guests at once': manyGuests,
  'operations of one guest take effect in order': inOrder,
  'batches and iterators are of one moment': atomic,
  'many iterators of one guest': manyIterators,
  'a guest that does not read': slowReader,
  'big values': bigValues,
  'many keys': manyKeys
}
