// What guests encode in their own ways is bytes to the host, and the same bytes to all guests.

import assert from 'node:assert/strict'

const VALUES = {
  utf8: ['', 'text', 'žluťoučký 🐎 \u0000'],
  json: [0, '', false, [], { a: [1, { b: null }] }],
  buffer: [Buffer.alloc(0), Buffer.from([0, 255, 128, 10]), Buffer.from([...Array(256).keys()])],
  view: [new Uint8Array(0), new Uint8Array([0, 255, 128])],
  hex: ['', '00ff80'],
  base64: ['', 'AP+A']
}

// Guests may give a Buffer where a view was put: it is one.
const plain = (value) => value instanceof Uint8Array ? Buffer.from(value) : value

async function values (stage) {
  const host = await stage.host()
  const { guest: bytes } = await stage.guest(host, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
  let count = 0
  for (const [valueEncoding, list] of Object.entries(VALUES)) {
    const { guest: db } = await stage.guest(host, { valueEncoding })
    const { guest: other } = await stage.guest(host)
    const keys = list.map((_, index) => `${valueEncoding}${index}`)
    await Promise.all(list.map((value, index) => index % 2
      ? db.put(keys[index], value)
      : other.batch([{ type: 'put', key: keys[index], value, valueEncoding }])))
    assert.deepEqual((await db.getMany(keys)).map(plain), list.map(plain))
    const scanned = await other.values({ gte: keys[0], lte: keys.at(-1), valueEncoding }).all()
    assert.deepEqual(scanned.map(plain), list.map(plain))
    const format = db.valueEncoding(valueEncoding)
    for (const [index, value] of list.entries()) {
      assert.deepEqual(plain(await other.get(keys[index], { valueEncoding })), plain(value))
      assert.deepEqual(await bytes.get(Buffer.from(keys[index])), Buffer.from(format.encode(value)), keys[index])
    }
    count += list.length
  }
  return `${count} values in ${Object.keys(VALUES).length} encodings`
}

async function keys (stage) {
  const host = await stage.host()
  const { guest: db } = await stage.guest(host, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
  const { guest: view } = await stage.guest(host, { keyEncoding: 'view', valueEncoding: 'view', retry: true })
  const { guest: text } = await stage.guest(host)
  const single = Array.from({ length: 256 }, (_, byte) => Buffer.from([byte]))
  const all = [Buffer.alloc(0), ...single.flatMap((key) => [key, Buffer.from([...key, 0])]), Buffer.alloc(300, 255)]
  all.sort(Buffer.compare)
  await db.batch(all.map((key) => ({ type: 'put', key, value: key })))
  assert.deepEqual(await db.keys().all(), all)
  assert.deepEqual((await view.iterator({ reverse: true }).all()).map(([key]) => plain(key)), [...all].reverse())
  assert.deepEqual((await view.getMany(all.map((key) => new Uint8Array(key)))).map(plain), all)
  assert.deepEqual(await text.get('a'), 'a')

  // The empty key is a key.
  assert.equal(await text.get(''), '')
  await text.put('', 'nothing')
  assert.deepEqual(await text.keys({ limit: 1 }).all(), [''])
  assert.deepEqual(await text.keys({ lte: '' }).all(), [''])
  await text.clear({ lte: '' })
  await assert.rejects(text.get(''), { code: 'LEVEL_NOT_FOUND' })
  assert.equal((await db.keys().all()).length, all.length - 1)

  // Keys that were objects come back as such.
  await text.put({ a: 1 }, [2], { keyEncoding: 'json', valueEncoding: 'json' })
  assert.deepEqual(await text.iterator({ gt: '{\u0000', lt: '|' }).all(), [['{"a":1}', '[2]']])
  return `${all.length} keys`
}

export default {
  'values in all encodings': values,
  'keys of all bytes, and the empty key': keys
}
