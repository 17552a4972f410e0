// What a database must give, computed without one.

// The keys of a range, in the order of an iterator. Keys are strings of ASCII.
export function select (keys, { gt, gte, lt, lte, reverse = false, limit = -1 } = {}) {
  const low = gte !== undefined ? (key) => key >= gte : gt !== undefined ? (key) => key > gt : () => true
  const high = lte !== undefined ? (key) => key <= lte : lt !== undefined ? (key) => key < lt : () => true
  const selected = [...keys].sort().filter((key) => low(key) && high(key))
  if (reverse) selected.reverse()
  return limit < 0 ? selected : selected.slice(0, limit)
}

// What an iterator gives after a seek, without a limit: nothing if the target is not in the range.
export function seek (keys, target, range = {}) {
  const all = select(keys, { ...range, limit: -1 })
  return select([target], { ...range, limit: -1 }).length === 0 ? [] : all.filter((key) => range.reverse ? key <= target : key >= target)
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

export const numbered = (count, from = 0) => Array.from({ length: count }, (_, index) => String(from + index).padStart(6, '0'))
