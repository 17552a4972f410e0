// One step of the interoperability check with C++ LevelDB, the twin of xtask/src/bin/interop-worker: the same jobs, the
// same lines, the same digests.

import { createHash } from 'node:crypto'
import { readFileSync, writeSync } from 'node:fs'

const PAGE = 1000
const MARKER = Buffer.from('\xff\xff\xff\xffbatches', 'latin1')

const job = JSON.parse(process.argv[2])
const { ClassicLevel } = await import(`classic-level-${job.version}`)

// Written at once: the process may be killed at any time.
const say = (line) => writeSync(1, line + '\n')

// What follows in a file: numbers, and byte strings with their length in front.
class Reader {
  constructor (path) {
    this.data = readFileSync(path)
    this.at = 0
  }

  get done () { return this.at === this.data.length }

  byte () { return this.data[this.at++] }

  number () {
    this.at += 4
    return this.data.readUInt32LE(this.at - 4)
  }

  bytes () {
    const length = this.number()
    this.at += length
    return this.data.subarray(this.at - length, this.at)
  }
}

function counted (bytes) {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length)
  return [length, bytes]
}

async function write (db) {
  const operations = new Reader(job.operations)
  for (let batch = 0; batch < job.to && !operations.done; batch++) {
    const list = []
    for (let left = operations.number(); left > 0; left--) {
      const type = operations.byte() === 1 ? 'put' : 'del'
      const key = operations.bytes()
      list.push(type === 'put' ? { type, key, value: operations.bytes() } : { type, key })
    }
    if (batch < job.from) continue
    await db.batch(list)
    say(batch + 1)
  }
  return { done: true }
}

async function scan (db, reverse) {
  const hash = createHash('sha256')
  const iterator = db.iterator({ reverse })
  let entries = 0
  for (;;) {
    const page = await iterator.nextv(PAGE)
    if (page.length === 0) break
    entries += page.length
    hash.update(Buffer.concat(page.flatMap(([key, value]) => [...counted(key), ...counted(value)])))
  }
  await iterator.close()
  return { entries, digest: hash.digest('hex') }
}

async function get (db, key) {
  try {
    return await db.get(key)
  } catch (error) {
    if (error.code === 'LEVEL_NOT_FOUND') return undefined
    throw error
  }
}

async function gets (db) {
  const hash = createHash('sha256')
  const probes = new Reader(job.probes)
  while (!probes.done) {
    const value = await get(db, probes.bytes())
    hash.update(Buffer.concat([Buffer.from([value === undefined ? 0 : 1]), ...counted(value ?? Buffer.alloc(0))]))
  }
  return hash.digest('hex')
}

async function read (db) {
  const forward = await scan(db, false)
  const reverse = await scan(db, true)
  if (forward.entries !== reverse.entries) throw new Error('another number of entries in reverse')
  return {
    entries: forward.entries,
    batches: Number((await get(db, MARKER)) ?? 0),
    forward: forward.digest,
    reverse: reverse.digest,
    gets: await gets(db)
  }
}

async function compact (db) {
  await db.compactRange(Buffer.alloc(0), Buffer.alloc(300, 0xff))
  return { done: true }
}

const db = new ClassicLevel(job.directory, {
  keyEncoding: 'buffer',
  valueEncoding: 'buffer',
  compression: job.compression,
  writeBufferSize: job.write_buffer_bytes,
  blockSize: job.block_bytes
})
await db.open()
const answer = await { write, read, compact }[job.action](db)
const levels = [0, 1, 2, 3, 4, 5, 6].map((level) => Number(db.getProperty(`leveldb.num-files-at-level${level}`)))
await db.close()
say(JSON.stringify({ ...answer, levels }))
