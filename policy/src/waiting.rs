//! How the threads of one tensor operation wait for each other.
//!
//! A product runs on a team of OpenMP threads. A thread that has done its part waits for the others: it spins for some
//! time and then sleeps. libtorch brings GNU's libgomp, which spins 300,000 times before it sleeps: 5 to 15 ms. On a
//! machine with a core for each thread this lets the next product begin at once. Where another program wants one of the
//! cores, a team of two is three to nine times slower: its one thread spins while the other has no core to finish on,
//! and so uses up its own share of the time. Sleeping at once (`OMP_WAIT_POLICY=passive`) costs a third on a quiet
//! machine, because a product takes a fraction of a millisecond and each of them begins with waking a thread up.
//!
//! The best wait is just longer than the time between two products. libgomp reads the number of spins from the
//! environment, and reads it when it is loaded, which is before `main`. So the process starts its program again, in
//! place and with the same process id, with one more variable.

use std::ffi::OsString;
use std::hint::spin_loop;
use std::io::Error;
use std::ops::RangeInclusive;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a waiting thread spins before it sleeps. Less costs time on a quiet machine (a sixth at 10 µs), more on a
/// busy one (two and a half times slower at 100 µs): docs/engine.md.
const WAIT: Duration = Duration::from_micros(30);

/// Bounds on the number of spins that a measurement may give: it may have been interrupted.
pub const LOOKS: RangeInclusive<u32> = 500..=10_000;

/// The variable that this module sets.
pub const VARIABLE: &str = "GOMP_SPINCOUNT";

/// The user has chosen already where one of these is set.
const CHOICES: [&str; 3] = [VARIABLE, "OMP_WAIT_POLICY", "KMP_BLOCKTIME"];

/// Makes the teams of this process spin only briefly before they sleep. It starts the program again where that is
/// needed, so call it before anything else has begun: only the arguments and the environment survive. It does nothing
/// with one thread, which has nobody to wait for, and where the environment holds a choice already.
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

/// How many spins fill the wait on this processor, whose pause instruction lasts 10 to 50 ns.
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
