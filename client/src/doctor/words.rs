//! Times, sizes and shares as an operator reads them.

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A time in its two largest units: `3.2 s`, `2 min 5 s`, `3 h 2 min`, `2 d 3 h`.
pub(super) fn time(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "an unknown time".to_owned();
    }
    let seconds = seconds.max(0.0);
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    // Far more than any process has run still fits.
    let whole = seconds.round() as u64;
    match whole {
        0..MINUTE => format!("{whole} s"),
        MINUTE..HOUR => format!("{} min {} s", whole / MINUTE, whole % MINUTE),
        HOUR..DAY => format!("{} h {} min", whole / HOUR, whole % HOUR / MINUTE),
        _ => format!("{} d {} h", whole / DAY, whole % DAY / HOUR),
    }
}

/// Bytes in a unit of a thousand, as disks and `df -H` count.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ if value < 10.0 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// `1 group`, `2 groups`.
pub(super) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Names in a row, with the number of those that are left out.
pub(super) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        others => format!("{shown} and {others} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_their_largest_units() {
        let told = [0.0, 9.94, 59.4, 125.0, 10_900.0, 200_000.0, -1.0].map(time);
        assert_eq!(
            told,
            ["0.0 s", "9.9 s", "59 s", "2 min 5 s", "3 h 1 min", "2 d 7 h", "0.0 s"]
        );
        assert_eq!(time(f64::NAN), "an unknown time");
        assert_eq!(time(1e300).chars().last(), Some('h'));
        let told = [999, 1_500, 12_345_678, 77_000_000_000, u64::MAX].map(bytes);
        assert_eq!(told, ["999 B", "1.5 kB", "12 MB", "77 GB", "18447 PB"]);
    }

    #[test]
    fn names_and_counts_are_said_in_words() {
        assert_eq!(
            (counted(1, "group"), counted(0, "group")),
            ("1 group".into(), "0 groups".into())
        );
        let names: Vec<String> = (1..=8).map(|number| format!("a{number}")).collect();
        assert_eq!(listed(&names[..2]), "a1, a2");
        assert_eq!(listed(&names), "a1, a2, a3, a4, a5, a6 and 2 more");
    }
}
