// many-level's own host, with the arguments of `rave host`: to see what a check says of it.

import { rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { pipeline } from 'node:stream'
import { parseArgs } from 'node:util'
import { ClassicLevel } from 'classic-level-1'
import { MemoryLevel } from 'memory-level'

const { values: { listen, store, 'read-only': readonly }, positionals: [version, directory] } = parseArgs({
  allowPositionals: true,
  options: {
    listen: { type: 'string' },
    store: { type: 'string' },
    json: { type: 'boolean' },
    'read-only': { type: 'boolean' }
  }
})
const { ManyLevelHost } = (await import(`many-level-${version}`)).default
const db = store === 'memory' ? new MemoryLevel() : new ClassicLevel(directory)
await db.open()
const host = new ManyLevelHost(db, { readonly })
const server = createServer((socket) => pipeline(socket, host.createRpcStream(), socket, () => {}))
const path = listen.replace('unix:', '')
rmSync(path, { force: true })
server.listen(path, () => console.log(JSON.stringify({ event: 'listening', address: listen })))
process.on('SIGTERM', () => process.exit())
