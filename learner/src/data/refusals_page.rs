//! The learner's sections of docs/refusals.md. Every test that provokes refusals writes one section and leaves the others.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// With `UPDATE=1` tests that run side by side write the same page.
static WRITING: Mutex<()> = Mutex::new(());

/// Asserts that the section with this heading is `text`, which begins with the heading. With `UPDATE=1` it writes the
/// section instead. `next` is the heading after it.
pub(crate) fn assert_section(heading: &str, next: &str, text: &str) {
    let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/refusals.md");
    let current = std::fs::read_to_string(&page).unwrap_or_default();
    let place = |heading: &str| current.find(&format!("\n{heading}\n"));
    let end = place(next).unwrap_or(current.len());
    let start = place(heading).unwrap_or(end);
    let expected = format!("{}\n{text}{}", &current[..start], &current[end..]);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, expected).expect("writable");
        return;
    }
    let lags = "docs/refusals.md lags behind: UPDATE=1 cargo test -p anytime-learner --lib refusals";
    assert!(current == expected, "{lags}");
}

/// A refusal as the page lists it: what is wrong, what is said.
pub(crate) fn entry(wrong: &str, said: &str) -> String {
    format!("\n- {wrong}\n\n      {said}\n")
}
