//! Data files with any damage: rows or a sentence, and never a panic or a hang.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;

use super::Files;
use crate::data::fields::Fields;

const LONGEST: Duration = Duration::from_secs(10);

const LINES: &str = r#"{"problem": "What is 6 · 7?", "answer": "42", "extra": {"a": [1, 2.5e3, null]}}
{"messages": [{"role": "user", "content": "Halve $\\frac{1}{2}$."}], "answer": "\\frac14"}
{"question": "What is 1 + 1?", "answer": "so it is #### 2"}
"#;

/// Files of every form that is read.
fn original(form: usize) -> (&'static str, Vec<u8>) {
    match form {
        0 => ("problems.jsonl", LINES.as_bytes().to_vec()),
        1 => {
            let rows: Vec<&str> = LINES.lines().collect();
            ("problems.json", format!("[{}]", rows.join(",")).into_bytes())
        }
        2 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, LINES.as_bytes()).expect("compressed");
            ("problems.jsonl.gz", encoder.finish().expect("compressed"))
        }
        _ => {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/verl.parquet");
            ("problems.parquet", std::fs::read(path).expect("the fixture"))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_of_a_data_file_is_a_sentence(
        form in 0_usize..4,
        replaced in proptest::collection::vec((any::<Index>(), any::<u8>()), 0..6),
        inserted in proptest::option::of((any::<Index>(), proptest::collection::vec(any::<u8>(), 1..9))),
        cut in proptest::option::weighted(0.2, any::<Index>()),
    ) {
        let (name, mut bytes) = original(form);
        for (at, byte) in replaced {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some((at, new)) = inserted {
            let at = at.index(bytes.len());
            bytes.splice(at..at, new);
        }
        if let Some(at) = cut {
            bytes.truncate(at.index(bytes.len()));
        }
        let files = Files::new();
        files.write(name, bytes);
        let began = Instant::now();
        let said = catch_unwind(AssertUnwindSafe(|| {
            files.read(&[name], Fields::default()).map(|_| ()).map_err(|error| error.to_string())
        }));
        prop_assert!(began.elapsed() < LONGEST, "it took {:?}", began.elapsed());
        match said {
            Ok(Ok(())) => {}
            Ok(Err(text)) => prop_assert!(text.contains(name), "the file is named: {text}"),
            Err(_) => prop_assert!(false, "it panicked"),
        }
    }
}
