// A process on a database that speaks the lines of `rave exec`: JSON requests in, JSON replies and events out.
//
//   node member.mjs DIRECTORY [--module rave-level] [--sublevel NAME] [--hold-unlink]
//
// With a module classic-level-* the process has the database for itself and serves nobody.

import fs from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

const { values: options, positionals: [directory] } = parseArgs({
  allowPositionals: true,
  options: {
    module: { type: 'string', default: 'rave-level' },
    sublevel: { type: 'string' },
    'hold-unlink': { type: 'boolean' }
  }
})

// Writes to a pipe are done when they return: what was told before the process is killed is heard.
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

function fail (error) {
  console.error(error)
  process.exit(3)
}

if (options['hold-unlink']) {
  // Files are removed late, as if the disk were slow: when stdin ends. The module looks the function up at each call.
  const { unlink } = fs
  fs.unlink = (path, callback) => {
    process.stdin.once('end', () => unlink(path, callback))
    say({ event: 'unlink' })
  }
}

const module = await import(options.module)
const Level = module.RaveLevel ?? module.ClassicLevel
const db = new Level(directory, { keyEncoding: 'utf8', valueEncoding: 'utf8' })
const view = options.sublevel === undefined ? db : db.sublevel(options.sublevel)
let role = 'guest'
db.on('leader', () => {
  role = 'leader'
  say({ event: 'leader' })
})
db.on('error', fail)
await db.open().catch(fail)

async function get (key) {
  try {
    return (await view.get(key)) ?? null
  } catch (error) {
    if (error.code === 'LEVEL_NOT_FOUND') return null
    throw error
  }
}

function range (request) {
  const names = ['gt', 'gte', 'lt', 'lte', 'reverse', 'limit'].filter((name) => request[name] !== undefined)
  return Object.fromEntries(names.map((name) => [name, request[name]]))
}

// By number: the iterator, and the last call on it, behind which the next one waits.
const iterators = new Map()
let opened = 0

function onIterator (number, call) {
  const slot = iterators.get(number)
  if (slot === undefined) throw new Error(`there is no open iterator ${number}`)
  const called = slot.last.then(() => call(slot.iterator))
  slot.last = called.catch(() => {})
  return called
}

async function next (iterator, count) {
  const entries = []
  while (entries.length < count) {
    const page = await iterator.nextv(count - entries.length)
    if (page.length === 0) return { entries, done: true }
    entries.push(...page)
  }
  return { entries }
}

const actions = {
  get: async ({ key }) => ({ value: await get(key) }),
  has: async ({ key }) => ({ value: await get(key) !== null }),
  get_many: async ({ keys }) => ({ values: (await view.getMany(keys)).map((value) => value ?? null) }),
  put: async ({ key, value }) => { await view.put(key, value) },
  del: async ({ key }) => { await view.del(key) },
  batch: async ({ ops }) => { await view.batch(ops) },
  clear: async (request) => { await view.clear(range(request)) },
  scan: async (request) => ({ entries: await view.iterator(range(request)).all(), done: true }),
  iter_open: async (request) => {
    iterators.set(++opened, { iterator: view.iterator(range(request)), last: Promise.resolve() })
    return { iter: opened }
  },
  iter_next: ({ iter, count = 1 }) => onIterator(iter, (iterator) => next(iterator, count)),
  iter_seek: ({ iter, target }) => onIterator(iter, async (iterator) => { iterator.seek(target) }),
  iter_close: ({ iter }) => onIterator(iter, async (iterator) => {
    iterators.delete(iter)
    await iterator.close()
  }),
  role: async () => ({ role, leader_pid: role === 'leader' ? process.pid : null })
}

const inFlight = new Set()

async function answer (request) {
  try {
    return { id: request.id, ok: true, ...await actions[request.op](request) }
  } catch ({ code = 'LEVEL_REMOTE_ERROR', message }) {
    return { id: request.id, error: { code, message, effect: 'unknown' } }
  }
}

const lines = createInterface({ input: process.stdin })

// As `rave exec` does: what is on its way finishes first, and no further line is read.
async function leave (id) {
  lines.removeAllListeners().close()
  await Promise.all(inFlight)
  await db.close()
  if (id !== undefined) say({ id, ok: true })
  if (options['hold-unlink']) process.stdin.resume()
  else process.exit(0)
}

lines.on('line', (line) => {
  const request = JSON.parse(line)
  if (request.op === 'close') return leave(request.id).catch(fail)
  const answered = answer(request).then(say)
  inFlight.add(answered)
  answered.then(() => inFlight.delete(answered))
})
lines.on('close', () => leave().catch(fail))
