// Scenarios of many-level's guests on a host that is a process of its own.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { killAll } from './rave-host.mjs'
import concurrency from './scenarios-concurrency.mjs'
import cut from './scenarios-cut.mjs'
import encodings from './scenarios-encodings.mjs'
import hosts from './scenarios-hosts.mjs'
import resume from './scenarios-resume.mjs'
import sublevels from './scenarios-sublevels.mjs'
import { Stage } from './stage.mjs'
import { work } from './worker.mjs'

const SCENARIOS = { ...encodings, ...sublevels, ...concurrency, ...cut, ...resume, ...hosts }

let played = 0

// Tells the names of all scenarios, or plays one.
async function run ({ command, folder, manyLevel, scenario }) {
  if (scenario === undefined) return Object.keys(SCENARIOS)
  const { ManyLevelGuest } = (await import(`many-level-${manyLevel}`)).default
  const place = join(folder, `${played++}`)
  const stage = new Stage({ command, folder: place, manyLevel }, ManyLevelGuest)
  try {
    const seen = await SCENARIOS[scenario](stage)
    await stage.close()
    return seen
  } finally {
    killAll()
    rmSync(place, { recursive: true, force: true })
  }
}

work(run, 120)
