// The normal numbers of a seed, those of numpy.random.RandomState(seed).randn: the Mersenne Twister (Matsumoto and
// Nishimura 1998) and the polar method (Marsaglia 1964).

const N = 624, M = 397;

/** The first `count` normal numbers of a seed, 0 .. 2^32 - 1. */
export function normal(seed, count) {
  const random = uniform(seed), found = [];
  while (found.length < count) {
    let x, y, square;
    do {
      x = 2 * random() - 1;
      y = 2 * random() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const factor = Math.sqrt((-2 * Math.log(square)) / square);
    found.push(factor * y, factor * x);
  }
  return found.slice(0, count);
}

/** A source of uniform numbers in [0, 1), of 53 bits each. */
function uniform(seed) {
  const words = new Uint32Array(N);
  words[0] = seed;
  for (let k = 1; k < N; k++) words[k] = Math.imul(1812433253, words[k - 1] ^ (words[k - 1] >>> 30)) + k;
  let at = N;
  const next = () => {
    if (at === N) {
      for (let k = 0; k < N; k++) {
        const mixed = (words[k] & 0x80000000) | (words[(k + 1) % N] & 0x7fffffff);
        words[k] = words[(k + M) % N] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let word = words[at++];
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  };
  return () => {
    const high = next() >>> 5, low = next() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  };
}
