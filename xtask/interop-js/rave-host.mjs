// Processes that serve one store to guests: `rave host`, or whatever takes the same arguments.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectSocket, Socket } from 'node:net'
import { createInterface } from 'node:readline'

const running = new Set()
process.on('exit', killAll)

// Nothing that was started outlives this process.
export function killAll () {
  for (const host of running) host.child.kill('SIGKILL')
}

export class Host {
  // `command` is the program with its first arguments; `path` is where its socket shall be.
  constructor (command, { path, store = 'leveldb', directory, readOnly = false }) {
    const place = store === 'memory' ? [] : [directory]
    const options = ['--listen', `unix:${path}`, '--store', store, '--json', ...(readOnly ? ['--read-only'] : [])]
    const [program, ...before] = command
    this.path = path
    this.directory = directory
    this.child = spawn(program, [...before, ...place, ...options], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.complaints = ''
    this.child.stderr.setEncoding('utf8').on('data', (text) => { this.complaints += text })
    running.add(this)
    this.ended = once(this.child, 'close').finally(() => running.delete(this))
    this.ready = Promise.race([this.#listening(), this.ended.then(() => { throw this.#failure('ended at once') })])
    // Who cares waits for them.
    this.ended.catch(() => {})
    this.ready.catch(() => {})
  }

  async #listening () {
    for await (const line of createInterface({ input: this.child.stdout })) {
      if (JSON.parse(line).event === 'listening') return
    }
    await this.ended
  }

  #failure (what) {
    const { exitCode, signalCode } = this.child
    return new Error(`the host ${what}, with ${signalCode ?? exitCode}: ${this.complaints}`)
  }

  // A socket to the host, at once, also if the host is still starting.
  connect () {
    const socket = new Socket()
    socket.cork()
    this.ready.then(() => {
      if (socket.destroyed) return
      socket.connect(this.path)
      socket.uncork()
    }, (error) => socket.destroy(error))
    return socket
  }

  // Asks it to leave, which it must do in good order.
  async stop () {
    await this.ready
    this.child.kill('SIGTERM')
    await this.ended
    if (this.child.exitCode !== 0) throw this.#failure('did not leave in good order')
  }

  async kill () {
    this.child.kill('SIGKILL')
    await this.ended
  }
}

// Whether somebody listens there.
export async function listens (path) {
  const socket = connectSocket(path)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
