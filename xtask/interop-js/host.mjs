// Databases of the JavaScript modules for guests of ours: many in one process, each fresh and at a socket of its own.
//
// Commands come as lines of JSON, and each is answered by one: {} or what was asked for, in the order of the commands.
// The process ends with its stdin.

import { existsSync, unlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pipeline, Transform } from 'node:stream'

const databases = new Map()

async function store ({ store, directory }) {
  if (store === 'memory') {
    const { MemoryLevel } = await import('memory-level')
    return new MemoryLevel()
  }
  const { ClassicLevel } = await import('classic-level-1')
  return new ClassicLevel(join(directory, 'database'))
}

// A database on a socket, whose connections can be cut, or made to lose what the host says.
class Hosted {
  constructor (db, address) {
    this.db = db
    this.address = address
    this.connections = new Set()
  }

  static async open (command) {
    const { ManyLevelHost } = await import(command.host)
    const db = await store(command)
    await db.open()
    const hosted = new Hosted(db, join(command.directory, 's'))
    const host = new ManyLevelHost(db)
    hosted.server = createServer((socket) => hosted.serve(socket, host.createRpcStream()))
    // A process that was here before and crashed has left its socket.
    if (existsSync(hosted.address)) unlinkSync(hosted.address)
    await new Promise((resolve, reject) => hosted.server.on('error', reject).listen(hosted.address, resolve))
    return hosted
  }

  serve (socket, rpc) {
    const connection = { socket, mute: false }
    const gate = new Transform({
      transform (data, _, callback) { callback(null, connection.mute ? null : data) }
    })
    this.connections.add(connection)
    pipeline(socket, rpc, gate, socket, () => this.connections.delete(connection))
  }

  mute () {
    for (const connection of this.connections) connection.mute = true
  }

  cut () {
    for (const { socket } of this.connections) socket.destroy()
  }

  async close () {
    this.cut()
    this.server.close()
    await this.db.close()
  }
}

// A directory that this process leads by the rules of the module rave-level.
class Led {
  static async open ({ directory }) {
    const { RaveLevel } = await import('rave-level')
    const led = new Led()
    led.address = directory
    led.db = new RaveLevel(directory)
    await new Promise((resolve) => led.db.once('leader', resolve))
    return led
  }

  async close () {
    await this.db.close()
  }
}

const commands = {
  async open (command) {
    const opened = await (command.host === 'rave-level' ? Led : Hosted).open(command)
    databases.set(command.directory, opened)
    return { address: opened.address }
  },

  // Ends the database and its connections.
  async close ({ directory }) {
    await databases.get(directory)?.close()
    databases.delete(directory)
  },

  // Ends the connections there are now.
  cut ({ directory }) { databases.get(directory).cut() },

  // What the host says on the connections there are now is lost.
  mute ({ directory }) { databases.get(directory).mute() },

  // Ends the database under its connections.
  async 'close-database' ({ directory }) { await databases.get(directory).db.close() }
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  const answer = await commands[command.do](command)
  process.stdout.write(JSON.stringify(answer ?? {}) + '\n')
}
process.exit(0)
