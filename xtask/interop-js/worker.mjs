// A worker of `cargo xtask interop`: it takes jobs from stdin, one JSON value per line, and tells on stdout of each
// what was seen or why it failed. It ends, with all that it has started, when stdin does.

import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'

// Performs each job with `perform(job, note)`, which may note what it is about, for the case that it never ends. After
// a job that never ends, or a mistake in some callback, nobody knows what still goes on, so this process ends, too.
export function work (perform, seconds) {
  const tell = (answer) => writeSync(1, JSON.stringify(answer) + '\n')
  const give = (up) => {
    tell({ failed: up })
    process.exit(1)
  }
  process.on('uncaughtException', (error) => give(`not caught: ${error.stack}`))

  const lines = createInterface({ input: process.stdin })
  lines.on('line', async (line) => {
    let doing = ''
    const late = setTimeout(() => give(`not done after ${seconds} s ${doing}`), seconds * 1000)
    try {
      tell({ seen: await perform(JSON.parse(line), (text) => { doing = text }) })
    } catch (error) {
      tell({ failed: error.stack })
    }
    clearTimeout(late)
  })
  lines.on('close', () => process.exit())
}
