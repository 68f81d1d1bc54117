//! How the threads of one tensor operation wait for each other.
//!
//! A product runs on a team of OpenMP threads. Whoever has done his part waits for the others, by looking again and
//! again for some time and then asleep. libtorch brings GNU's libgomp, which looks 300,000 times before it sleeps: 5 to
//! 15 ms. On a machine that has a core for each thread this makes the next product begin at once. Where another program
//! wants one of the cores, a team of two is three to nine times slower: its one thread looks on while the other has no
//! core to finish on, and so uses up its own share of the time. Sleeping at once (`OMP_WAIT_POLICY=passive`) costs a
//! third on a quiet machine, because a product takes a fraction of a millisecond and each of them begins with waking
//! somebody up.
//!
//! In between lies a wait that outlasts what goes by between two products, and no more. libgomp reads how long from the
//! environment, and reads it when it is loaded, which is before `main`. So the process starts its program again, in
//! place and with the same process id, with one variable more.

use std::ffi::OsString;
use std::hint::spin_loop;
use std::io::Error;
use std::ops::RangeInclusive;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a waiting thread looks before it sleeps. Less costs a quiet machine (10 µs a sixth), more a busy one (100 µs
/// make it two and a half times slower): docs/engine.md.
const WAIT: Duration = Duration::from_micros(30);

/// The least and the most looks that a measurement of their time may ask for: it may have been interrupted.
pub const LOOKS: RangeInclusive<u32> = 500..=10_000;

/// The variable that this module sets.
pub const VARIABLE: &str = "GOMP_SPINCOUNT";

/// Whoever sets one of these has chosen already.
const CHOICES: [&str; 3] = [VARIABLE, "OMP_WAIT_POLICY", "KMP_BLOCKTIME"];

/// Sees to it that the teams of this process wait only briefly before they sleep. It starts the program again where that
/// is needed, so call it before anything else has begun: only the arguments and the environment survive. With one thread
/// there is nobody to wait for, and a choice in the environment stands; it returns then without doing anything.
///
/// # Errors
/// The program cannot be started again, for example because its file is gone. The process can go on, and waits as
/// libgomp does by default.
pub fn wait_briefly(threads: usize) -> Result<(), Error> {
    if threads <= 1 || CHOICES.iter().any(|name| std::env::var_os(name).is_some()) {
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from(&program));
    // Returns only where it fails.
    Err(Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(VARIABLE, looks().to_string())
        .exec())
}

/// How many looks fill the wait on this processor, whose pause instruction lasts 10 to 50 ns.
// Nothing but a clock tells it, and no other result depends on it.
#[allow(clippy::disallowed_methods)]
fn looks() -> u32 {
    const LOOKED: u32 = 1_000;
    let time = || {
        let start = Instant::now();
        (0..LOOKED).for_each(|_| spin_loop());
        start.elapsed()
    };
    let least = (0..5).map(|_| time()).min().unwrap_or_default();
    let looks = WAIT.as_secs_f64() / least.as_secs_f64() * f64::from(LOOKED);
    (looks as u32).clamp(*LOOKS.start(), *LOOKS.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_fill_the_wait() {
        for _ in 0..10 {
            assert!(LOOKS.contains(&looks()));
        }
    }
}
