// abstract-level's own suite through guests of many-level on hosts that are processes of their own: a fresh one for
// each database that the suite asks for.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import suite from 'abstract-level/test/index.js'
import tape from 'tape'
import { Host, killAll } from './rave-host.mjs'
import { work } from './worker.mjs'

// Hosts that start while the suite still uses others.
const SPARE = 3
// Failures that are told in full.
const SHOWN = 10

// The hosts of one run.
class Hosts {
  constructor ({ command, folder, store }) {
    this.command = command
    this.folder = folder
    this.store = store
    this.started = 0
    this.spare = []
    this.used = []
    this.stopped = []
    while (this.spare.length < SPARE) this.#start()
  }

  #start () {
    const name = join(this.folder, `${this.started++}`)
    this.spare.push(new Host(this.command, { path: `${name}.sock`, store: this.store, directory: name }))
  }

  // A fresh host for the guest that `connect` makes of it. The suite opens some databases again after closing them, but
  // none that it has closed when it asks for the next.
  use (connect) {
    const closed = this.used.filter(({ guest }) => guest.status === 'closed')
    this.used = this.used.filter((entry) => !closed.includes(entry))
    for (const { host } of closed) this.#stop(host)
    this.#start()
    const host = this.spare.shift()
    const guest = connect(host)
    this.used.push({ host, guest })
    return guest
  }

  #stop (host) {
    const stopped = host.stop().then(() => host.directory && rmSync(host.directory, { recursive: true, force: true }))
    stopped.catch(() => {})
    this.stopped.push(stopped)
  }

  // Every host, used or not, must leave in good order.
  async close () {
    for (const host of [...this.used.map(({ host }) => host), ...this.spare]) this.#stop(host)
    await Promise.all(this.stopped)
  }
}

async function run ({ command, folder, manyLevel, store }, note) {
  const { ManyLevelGuest } = (await import(`many-level-${manyLevel}`)).default
  const hosts = new Hosts({ command, folder, store })
  const counts = { assertions: 0, tests: 0, skipped: 0, failed: 0, databases: 0, failures: [] }
  const names = new Map()

  const test = tape.createHarness()
  const results = test.createStream({ objectMode: true })
  results.on('data', (row) => {
    if (row.skip || row.todo) counts.skipped++
    if (row.type === 'test') {
      counts.tests++
      names.set(row.id, row.name)
      note(`in the test ${JSON.stringify(row.name)}`)
    } else if (row.type === 'assert') {
      counts.assertions++
      if (row.ok) return
      if (++counts.failed > SHOWN) return
      const wanted = `wanted ${inspect(row.expected)}, got ${inspect(row.actual)}`
      counts.failures.push(`${names.get(row.test)}: ${row.name}: ${wanted}\n${row.error?.stack}`)
    }
  })

  suite({
    test,
    factory: (options) => {
      counts.databases++
      return hosts.use((host) => new ManyLevelGuest({ ...options, _remote: () => remote(host) }))
    }
  })
  try {
    await new Promise((resolve) => results.on('end', resolve))
    await hosts.close()
  } finally {
    killAll()
  }
  return counts
}

// What many-level's guest pipes to and from. It does not expect errors there, and a host that leaves may cause some.
function remote (host) {
  return host.connect().on('error', () => {})
}

work(run, 300)
