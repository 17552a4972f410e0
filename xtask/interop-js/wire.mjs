// The wire between a guest and its host: frames are seen one by one, may be changed, lost, or cut in half, and the
// connection is made again whenever it has ended.

import { EventEmitter, once } from 'node:events'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { finished } from 'node:stream'

// What may become of a frame instead of passing on as it is.
export const LOSE = Symbol('lose')
// It is lost, and the connection ends.
export const CUT = Symbol('cut')
// Its first half arrives, and the connection ends.
export const HALVE = Symbol('halve')

// Milliseconds before somebody who was not there is looked for again.
const PAUSE = 10
const ignore = () => {}

// many-level's own messages.
export class Codec {
  constructor (manyLevel) {
    const { input, output } = createRequire(import.meta.url)(`many-level-${manyLevel}/tags`)
    this.request = input
    this.answer = output
  }

  encode (direction, tag, message) {
    const encoding = this[direction].encoding(tag)
    const length = encoding.encodingLength(message) + 1
    const prefix = []
    let left = length
    for (; left >= 0x80; left = Math.floor(left / 0x80)) prefix.push((left & 0x7f) | 0x80)
    const bytes = Buffer.alloc(prefix.length + 1 + length)
    bytes.set([...prefix, left, tag])
    encoding.encode(message, bytes, prefix.length + 2)
    return bytes
  }

  // Nothing for tags that many-level does not know.
  decode (direction, { tag, bytes, start }) {
    return this[direction].encoding(tag)?.decode(bytes, start + 1)
  }
}

// Takes a stream's chunks and gives its frames: the bytes, the tag, and where the tag stands.
class Splitter {
  #chunks = []
  #length = 0
  #wanted = 1

  push (chunk) {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    // A large frame comes in many chunks, which are put together once.
    if (this.#length < this.#wanted) return []
    const bytes = Buffer.concat(this.#chunks)
    const frames = []
    let at = 0
    for (;;) {
      const { start, end } = this.#bounds(bytes, at)
      this.#wanted = end - at
      if (end > bytes.length) break
      if (end > start) frames.push({ bytes: bytes.subarray(at, end), tag: bytes[start], start: start - at })
      at = end
    }
    this.#chunks = [bytes.subarray(at)]
    this.#length = bytes.length - at
    return frames
  }

  // Where a frame's tag stands and where the frame ends, as far as the bytes tell.
  #bounds (bytes, at) {
    let length = 0
    for (let start = at; start < bytes.length;) {
      const byte = bytes[start]
      length += (byte & 0x7f) * 2 ** (7 * (start++ - at))
      if (byte < 0x80) return { start, end: start + length }
    }
    return { start: bytes.length, end: bytes.length + 1 }
  }
}

// A guest's connection, made again until it is closed. For each connection `watch` gives a function that sees all
// frames with their direction, `request` or `answer`, and may return what becomes of them.
export class Wire {
  #closed = false
  #socket = null
  #connected = new EventEmitter()

  constructor (guest, path, watch = () => ignore) {
    this.guest = guest
    this.path = path
    this.watch = watch
    this.connections = 0
    this.#connect()
  }

  #connect () {
    if (this.#closed || this.guest.status !== 'open') return
    const socket = this.#socket = connect(this.path)
    const again = () => setTimeout(() => this.#connect(), PAUSE)
    socket.on('error', ignore)
    socket.once('close', again)
    socket.once('connect', () => {
      socket.off('close', again)
      this.#carry(socket)
    })
  }

  #carry (socket) {
    this.connections++
    this.#connected.emit('connection')
    const stream = this.guest.createRpcStream().on('error', ignore)
    const judge = this.watch()
    const cut = () => socket.destroy()
    this.#flow(socket, stream, (frame) => judge('answer', frame), cut)
    this.#flow(stream, socket, (frame) => judge('request', frame), cut)
    socket.once('end', () => stream.end())
    socket.once('close', () => stream.destroy())
    // The guest hears of it first, and has made its stream free for another.
    finished(stream, () => {
      socket.destroy()
      setImmediate(() => this.#connect())
    })
  }

  #flow (from, to, judge, cut) {
    const splitter = new Splitter()
    let ended = false
    from.on('data', (chunk) => {
      for (const frame of splitter.push(chunk)) {
        if (ended) return
        const verdict = judge(frame) ?? frame.bytes
        if (verdict === LOSE) continue
        if (verdict === CUT || verdict === HALVE) {
          ended = true
          to.write(frame.bytes.subarray(0, verdict === CUT ? 0 : frame.bytes.length >> 1), cut)
        } else if (!to.write(verdict) && !from.isPaused()) {
          from.pause()
          to.once('drain', () => from.resume())
        }
      }
    })
  }

  // The next connection that is made.
  async connection () {
    await once(this.#connected, 'connection')
  }

  // Ends the connection with all that is on its way.
  cut () {
    this.#socket.destroy()
  }

  close () {
    this.#closed = true
    this.cut()
  }
}

// A peer that speaks the protocol without a guest.
export class Peer {
  #answers = []
  #waiting = null

  constructor (path, codec) {
    const splitter = new Splitter()
    this.codec = codec
    this.socket = connect(path).on('error', ignore)
    this.socket.on('data', (chunk) => {
      for (const frame of splitter.push(chunk)) this.#hand({ tag: frame.tag, ...codec.decode('answer', frame) })
    })
    this.socket.on('close', () => this.#hand(null))
  }

  #hand (answer) {
    this.#answers.push(answer)
    this.#waiting?.()
  }

  send (tag, message) {
    this.socket.write(this.codec.encode('request', tag, message))
  }

  // The next answer with its tag; null when the connection has ended.
  async next () {
    while (this.#answers.length === 0) await new Promise((resolve) => { this.#waiting = resolve })
    return this.#answers[0] === null ? null : this.#answers.shift()
  }

  async close () {
    if (this.socket.closed) return
    this.socket.destroy()
    await once(this.socket, 'close')
  }
}
