// Sublevels are the guests' own affair: a host sees keys with prefixes, and must get their bounds right to the byte.

import assert from 'node:assert/strict'
import { numbered, ranges, select } from './expected.mjs'

const KEYS = ['a', 'ab', 'b', 'b!', 'c', '~']
const filled = async (db, mark) => {
  await db.batch(KEYS.map((key) => ({ type: 'put', key, value: mark + key })))
  return db
}

// Names that are prefixes of one another, and neighbours.
async function neighbours (stage) {
  const host = await stage.host()
  const names = ['a', 'aa', 'ab', 'b', '~', '#']
  const levels = await Promise.all(names.map(async (name) => {
    const { guest } = await stage.guest(host)
    return filled(guest.sublevel(name), name)
  }))
  for (const [index, level] of levels.entries()) {
    const expected = KEYS.map((key) => [key, names[index] + key])
    assert.deepEqual(await level.iterator().all(), expected)
    assert.deepEqual(await level.iterator({ reverse: true }).all(), [...expected].reverse())
    assert.deepEqual(await level.getMany([...KEYS, 'none']), [...expected.map(([, value]) => value), undefined])
  }
  const { guest: db } = await stage.guest(host)
  const all = names.flatMap((name) => KEYS.map((key) => `!${name}!${key}`)).sort()
  assert.deepEqual(await db.keys().all(), all)

  // One after the other is cleared, and the others keep what they have.
  for (const [index, level] of levels.entries()) {
    await level.clear()
    for (const [at, other] of levels.entries()) {
      assert.deepEqual(await other.keys().all(), at <= index ? [] : KEYS, names[at])
    }
  }
  return `${names.length} sublevels, each of another guest`
}

async function nested (stage) {
  const host = await stage.host()
  const { guest: db } = await stage.guest(host, { retry: true })
  const { guest: other } = await stage.guest(host)
  const outer = await filled(db.sublevel('outer'), 'outer')
  const inner = await filled(outer.sublevel('inner'), 'inner')
  const deep = await filled(other.sublevel('outer').sublevel('inner').sublevel('deep'), 'deep')
  assert.equal(await db.get('!outer!!inner!!deep!a'), 'deepa')
  assert.deepEqual(await deep.values().all(), KEYS.map((key) => 'deep' + key))
  assert.equal((await inner.keys().all()).length, 2 * KEYS.length)
  assert.equal((await outer.keys().all()).length, 3 * KEYS.length)

  // Through one handle, on three levels, at once.
  await db.batch([
    { type: 'put', key: 'x', value: '1' },
    { type: 'put', sublevel: outer, key: 'x', value: '2' },
    { type: 'del', sublevel: inner, key: 'a' }
  ])
  const found = await other.getMany(['x', '!outer!x', '!outer!!inner!a', '!outer!a'])
  assert.deepEqual(found, ['1', '2', undefined, 'outera'])
  await inner.clear()
  assert.deepEqual(await deep.keys().all(), [])
  assert.deepEqual(await outer.keys().all(), [...KEYS, 'x'].sort())
  await outer.clear()
  assert.deepEqual(await other.iterator().all(), [['x', '1']])
  return 'right on four levels'
}

async function borders (stage) {
  const host = await stage.host()
  const { guest: db } = await stage.guest(host)
  for (const name of ['m', 'l', 'n', 'mm']) await filled(db.sublevel(name), name)
  const { guest: other } = await stage.guest(host)
  const level = other.sublevel('m')
  let iterators = 0
  for (const range of ranges(['', 'ab', 'b!', '~'], [-1, 2])) {
    // An empty bound is the sublevel's own: no key is below it.
    if (range.lt === '' || range.lte === '') continue
    assert.deepEqual(await level.keys(range).all(), select(KEYS, range), JSON.stringify(range))
    iterators++
  }

  // What a clear leaves of it; the others lose nothing.
  for (const range of [{ gt: 'b', lt: '~' }, { limit: 2, reverse: true }, { gte: 'ab', limit: 1 }, { lte: 'a' }, {}]) {
    await filled(level, 'm')
    await level.clear(range)
    const gone = select(KEYS, range)
    assert.deepEqual(await level.keys().all(), KEYS.filter((key) => !gone.includes(key)), JSON.stringify(range))
    for (const name of ['l', 'n', 'mm']) assert.deepEqual(await db.sublevel(name).keys().all(), KEYS)
  }
  return `${iterators} iterators`
}

// Two guests write and clear sublevels of one host at the same time.
async function sideBySide (stage) {
  const host = await stage.host()
  const keys = numbered(300)
  const play = async (name) => {
    const { guest } = await stage.guest(host, { retry: true })
    const level = guest.sublevel(name, { valueEncoding: 'json' })
    for (let round = 0; round < 5; round++) {
      await Promise.all(keys.map((key) => level.put(key, { name, round, key })))
      assert.deepEqual(await level.values().all(), keys.map((key) => ({ name, round, key })))
      await level.clear(round < 4 ? {} : { lt: keys[100] })
      assert.equal((await level.keys().all()).length, round < 4 ? 0 : 200)
    }
  }
  await Promise.all(['left', 'right', 'left2'].map(play))
  return 'three guests, none sees another'
}

export default {
  'sublevels next to each other': neighbours,
  'sublevels in sublevels': nested,
  'the borders of a sublevel': borders,
  'guests on sublevels side by side': sideBySide
}
