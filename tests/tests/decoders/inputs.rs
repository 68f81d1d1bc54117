//! Inputs that somebody damaged: valid ones with bytes that are replaced, inserted, cut off, repeated, or taken from
//! another valid one.

use rand::{Rng as _, RngExt as _};
use rand_chacha::ChaCha8Rng;

/// The longest input.
const LONGEST: usize = 256 << 10;

/// Numbers at which lengths and counts go wrong.
const NUMBERS: [&str; 9] = [
    "-1",
    "0",
    "1e999",
    "65536",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999999",
];

/// Damages one of the seeds.
pub(crate) fn damaged(seeds: &[Vec<u8>], words: &[&[u8]], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = pick(seeds, random).clone();
    for _ in 0..random.random_range(1..6) {
        damage(&mut bytes, seeds, words, random);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn pick<'a, T>(of: &'a [T], random: &mut ChaCha8Rng) -> &'a T {
    &of[random.random_range(0..of.len())]
}

fn damage(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&[u8]], random: &mut ChaCha8Rng) {
    // What a file begins with decides most.
    let length = match random.random_range(0..3) {
        0 => bytes.len().min(64),
        _ => bytes.len(),
    };
    let at = random.random_range(0..=length);
    let replace = |bytes: &mut Vec<u8>, with: &[u8], over: usize| {
        let end = (at + over).min(bytes.len());
        bytes.splice(at..end, with.iter().copied());
    };
    match random.random_range(0..12) {
        0 | 1 => replace(bytes, &[random.random()], 1),
        2 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
        3 => {
            let number = pick(&NUMBERS, random).as_bytes().to_vec();
            // In place of a number where one stands there.
            let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            replace(bytes, &number, digits);
        }
        4 => {
            let length: u64 = random.random::<u64>() >> random.random_range(0..64);
            let width = *pick(&[1, 2, 4, 8], random);
            replace(bytes, &length.to_le_bytes()[..width], width);
        }
        // The largest numbers that protobuf has.
        5 => replace(bytes, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], 1),
        6 => bytes.truncate(at),
        7 | 8 => {
            let from = random.random_range(0..=bytes.len());
            let to = random.random_range(from..=bytes.len().min(from + 512));
            let times = 1_usize << random.random_range(0..9);
            let piece = bytes[from..to].repeat(times.min(LONGEST / (to - from).max(1)));
            replace(bytes, &piece, 0);
        }
        9 => {
            let other = pick(seeds, random);
            let from = random.random_range(0..=other.len());
            let to = random.random_range(from..=other.len());
            replace(bytes, &other[from..to], (to - from) / 2);
        }
        10 if !words.is_empty() => {
            let word = pick(words, random).to_vec();
            replace(bytes, &word, 0);
        }
        _ => {
            let mut some = vec![0; random.random_range(1..16)];
            random.fill_bytes(&mut some);
            replace(bytes, &some, 0);
        }
    }
}
