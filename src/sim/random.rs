//! A small deterministic random source (splitmix64): same seed, same sequence, on every machine.

/// A seeded sequence of random numbers.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An independent sequence for a named part, so that adding a part leaves the others alone.
    pub(super) fn named(seed: u64, name: &str) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed ^ hash)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `0.0 .. 1.0`.
    pub(super) fn fraction(&mut self) -> f64 {
        // 32 bits convert exactly and are plenty for durations.
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(u32::MAX)) / 4_294_967_296.0
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// Uniform in `low ..= high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.abs_diff(low).saturating_add(1);
        low + i64::try_from(self.next() % width).unwrap_or(0)
    }

    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let index = self.next() % u64::try_from(items.len()).ok().filter(|len| *len > 0)?;
        items.get(usize::try_from(index).ok()?)
    }

    /// About standard normal (sum of twelve uniforms): needs no library function that may differ
    /// between machines, and has no wild tails.
    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.fraction()).sum::<f64>() - 6.0
    }

    /// A log-normal factor around 1 with log noise `sigma`.
    pub(super) fn noise(&mut self, sigma: f64) -> f64 {
        (self.normal() * sigma).exp()
    }

    /// Hexadecimal text of `length` characters (at most 16), such as a commit.
    pub(super) fn hex(&mut self, length: usize) -> String {
        let mut text = format!("{:016x}", self.next());
        text.truncate(length);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // Reference outputs of splitmix64 for seed 1234567.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn noise_is_centred_and_as_wide_as_asked() {
        let mut random = Random::new(7);
        let logs: Vec<f64> = (0..4_000).map(|_| random.noise(0.1).ln()).collect();
        let mean = logs.iter().sum::<f64>() / 4_000.0;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / 4_000.0;
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance.sqrt() - 0.1).abs() < 0.01, "{variance}");
    }

    #[test]
    fn ranges_include_both_ends() {
        let mut random = Random::new(3);
        let seen: std::collections::BTreeSet<i64> =
            (0..200).map(|_| random.between(-1, 2)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [-1, 0, 1, 2]);
    }
}
