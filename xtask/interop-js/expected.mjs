// What a database must give, computed without one.

// The keys of a range, in the order of an iterator. Keys are strings of ASCII.
export function select (keys, { gt, gte, lt, lte, reverse = false, limit = -1 } = {}) {
  const selected = [...keys].sort().filter((key) => {
    const above = gte !== undefined ? key >= gte : gt === undefined || key > gt
    return above && (lte !== undefined ? key <= lte : lt === undefined || key < lt)
  })
  if (reverse) selected.reverse()
  return limit < 0 ? selected : selected.slice(0, limit)
}

// What an iterator gives after a seek, without a limit: nothing if the target is not in the range.
export function seek (keys, target, range = {}) {
  const all = select(keys, { ...range, limit: -1 })
  if (select([target], { ...range, limit: -1 }).length === 0) return []
  return all.filter((key) => range.reverse ? key <= target : key >= target)
}

// Every combination of a few bounds, directions and limits.
export function * ranges (bounds, limits) {
  const lows = [{}, ...bounds.flatMap((key) => [{ gt: key }, { gte: key }])]
  const highs = [{}, ...bounds.flatMap((key) => [{ lt: key }, { lte: key }])]
  for (const low of lows) {
    for (const high of highs) {
      for (const reverse of [false, true]) {
        for (const limit of limits) yield { ...low, ...high, reverse, limit }
      }
    }
  }
}

// Keys in the order of their numbers.
export const numbered = (count) => Array.from({ length: count }, (_, index) => String(index).padStart(6, '0'))
