//! Keys, values and orders: the same for all engines, and as in LevelDB's own `db_bench`.

use fastrand::Rng;

pub type Key = [u8; 16];

/// Bytes of a value.
pub const VALUE: usize = 100;

/// The key of an entry: its number, in decimal, of constant width.
pub fn key(number: u32) -> Key {
    let mut key = [b'0'; 16];
    let mut rest = number;
    for digit in key.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// Numbers below `entries` in random order, each once.
pub fn shuffled(entries: u32, seed: u64) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..entries).collect();
    Rng::with_seed(seed).shuffle(&mut numbers);
    numbers
}

/// Values: 50 random printable bytes, twice.
pub struct Values(Vec<u8>);

impl Values {
    pub fn new() -> Self {
        let mut rng = Rng::with_seed(301);
        let mut buffer = Vec::with_capacity(1 << 20);
        while buffer.len() + VALUE <= 1 << 20 {
            let half: [u8; VALUE / 2] = std::array::from_fn(|_| rng.u8(b' '..=b'~'));
            buffer.extend_from_slice(&half);
            buffer.extend_from_slice(&half);
        }
        Self(buffer)
    }

    /// A value for the operation of this number.
    pub fn get(&self, number: usize) -> &[u8] {
        let start = number % (self.0.len() / VALUE) * VALUE;
        &self.0[start..start + VALUE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_their_numbers() {
        assert_eq!(&key(1_234_567), b"0000000001234567");
        assert!(key(9) < key(10) && key(99_999) < key(100_000));
    }

    #[test]
    fn values_are_half_random() {
        let values = Values::new();
        let value = values.get(1_000_000);
        assert_eq!(value.len(), VALUE);
        assert_eq!(value[..VALUE / 2], value[VALUE / 2..]);
        assert_ne!(values.get(0), values.get(1));
    }
}
