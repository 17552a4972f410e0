// One process of a benchmark in JavaScript, the twin of xtask/src/bin/bench-worker: the same lines on stdin and stdout,
// the same keys, values and workloads.

import { RaveLevel } from 'rave-level'
import { createInterface } from 'node:readline'

const VALUE = 100
const BATCH = 100
const PAGE = 1000

let random = 0x9e3779b9
function rand () { // xorshift32
  random ^= random << 13
  random ^= random >>> 17
  random ^= random << 5
  return random >>> 0
}

const pool = Buffer.from(Array.from({ length: 1 << 16 }, () => rand() & 0xff))
let entries = 1

const key = (index) => String(index).padStart(16, '0')
const any = () => rand() % entries
const value = () => {
  const start = rand() % (pool.length - VALUE)
  return pool.subarray(start, start + VALUE)
}
const say = (line) => process.stdout.write(line + '\n')

const db = new RaveLevel(process.argv[2], { keyEncoding: 'utf8', valueEncoding: 'buffer' })

async function put () {
  await db.put(key(any()), value())
}

async function get () {
  const found = await db.get(key(any()))
  if (found.length !== VALUE) throw new Error('a value of ' + found.length + ' bytes')
}

async function batch () {
  const operations = []
  for (let i = 0; i < BATCH; i++) operations.push({ type: 'put', key: key(any()), value: value() })
  await db.batch(operations)
}

async function scan () {
  const iterator = db.iterator()
  let met = 0
  while (true) {
    const page = await iterator.nextv(PAGE)
    if (page.length === 0) break
    met += page.length
  }
  await iterator.close()
  if (met !== entries) throw new Error('a scan met ' + met + ' entries')
  return met
}

async function repeat (deadline, step) {
  let operations = 0
  while (performance.now() < deadline) {
    await step()
    operations++
  }
  return operations
}

async function lanes (deadline, step) {
  const counts = await Promise.all(Array.from({ length: 64 }, () => repeat(deadline, step)))
  return counts.reduce((sum, count) => sum + count, 0)
}

async function run (name, deadline) {
  switch (name) {
    case 'put-1': return repeat(deadline, put)
    case 'get-1': return repeat(deadline, get)
    case 'put-64': return lanes(deadline, put)
    case 'get-64': return lanes(deadline, get)
    case 'batch-100': return BATCH * await repeat(deadline, batch)
    case 'scan': {
      let operations = 0
      while (operations === 0 || performance.now() < deadline) operations += await scan()
      return operations
    }
    default: throw new Error('there is no workload ' + name)
  }
}

const commands = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

// A guest's `open` ends before it has reached anyone: it is ready when an operation was answered.
let ready = false
let leads = false
db.on('leader', () => {
  leads = true
  if (ready) say('leader')
})
await db.open()
await db.getMany(['nothing'])
await new Promise((resolve) => setTimeout(resolve, 20))
ready = true
say(leads ? 'ready leader' : 'ready guest')

for await (const line of commands) {
  const [command, argument, millis] = line.split(' ')
  if (command === 'fill') {
    entries = Number(argument)
    for (let start = 0; start < entries; start += 1000) {
      const operations = []
      for (let i = start; i < Math.min(entries, start + 1000); i++) {
        operations.push({ type: 'put', key: key(i), value: value() })
      }
      await db.batch(operations)
    }
    say('filled')
  } else if (command === 'expect') {
    entries = Number(argument)
  } else if (command === 'run') {
    const start = performance.now()
    const operations = await run(argument, start + Number(millis))
    say('ran ' + operations + ' ' + Math.round((performance.now() - start) * 1e6))
  } else if (command === 'put') {
    await put()
    say('ack')
  } else {
    throw new Error('cannot do ' + line)
  }
}
await db.close()
