// What a scenario plays on: hosts and guests, which it makes as it needs them, and which all end with it.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Host } from './rave-host.mjs'
import { Codec, Peer, Wire } from './wire.mjs'

export class Stage {
  #hosts = []
  #guests = []
  #peers = []
  #numbers = 0

  // `command` starts a host; `folder` is new and short.
  constructor ({ command, folder, manyLevel }, ManyLevelGuest) {
    this.command = command
    this.folder = folder
    this.ManyLevelGuest = ManyLevelGuest
    this.codec = new Codec(manyLevel)
    mkdirSync(folder, { recursive: true })
  }

  // A host that listens; on the same socket and directory as another if that is given as `again`.
  async host ({ again, ...options } = {}) {
    const name = join(this.folder, `${this.#numbers++}`)
    const { path, directory } = again ?? { path: `${name}.sock`, directory: name }
    const host = new Host(this.command, { path, directory, ...options })
    this.#hosts.push(host)
    await host.ready
    return host
  }

  // A guest that is connected, and its wire.
  async guest (host, options = {}, watch = undefined) {
    const guest = new this.ManyLevelGuest(options)
    await guest.open()
    const wire = this.connect(guest, host, watch)
    await wire.connection()
    return { guest, wire }
  }

  // The wire of a guest that is open.
  connect (guest, host, watch = undefined) {
    const wire = new Wire(guest, host.path, watch)
    this.#guests.push({ guest, wire })
    return wire
  }

  peer (host) {
    const peer = new Peer(host.path, this.codec)
    this.#peers.push(peer)
    return peer
  }

  // Everyone leaves in good order, which hosts must be able to.
  async close () {
    await Promise.all(this.#peers.map((peer) => peer.close()))
    await Promise.all(this.#guests.map(async ({ guest, wire }) => {
      await guest.close()
      wire.close()
    }))
    const left = this.#hosts.filter(({ child }) => child.exitCode === null && child.signalCode === null)
    await Promise.all(left.map((host) => host.stop()))
  }
}
