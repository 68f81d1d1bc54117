//! What a setting can name, how files are compressed and encoded, and what no file of rows is.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::{Files, fault_of, problems_of};
use crate::data::fields::Fields;

const ROW: &str = "{\"problem\": \"a\", \"answer\": 1}\n";

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("compressed");
    encoder.finish().expect("compressed")
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).expect("compressed")
}

#[test]
fn compressed_files_are_read_whatever_they_are_called() {
    let rows: String = (0..3000)
        .map(|number| format!("{{\"problem\": \"{number}\", \"answer\": 1}}\n"))
        .collect();
    let array = format!("[{}]", rows.trim().replace('\n', ","));
    for content in [rows.as_str(), array.as_str()] {
        let plain = problems_of(content).expect("valid");
        assert_eq!(plain.len(), 3000);
        assert_eq!(problems_of(gzip(content.as_bytes())).expect("gzip"), plain);
        assert_eq!(problems_of(zstd(content.as_bytes())).expect("zstd"), plain);
    }
    let (first, second) = rows.split_at(rows.len() / 2);
    let members = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
    assert_eq!(problems_of(&members).expect("two members").len(), 3000);
    // An archive or a tape fills its blocks with zeros.
    let zeros = vec![0; 512 << 10];
    let filled = [gzip(first.as_bytes()), zeros.clone(), gzip(second.as_bytes()), zeros].concat();
    assert_eq!(problems_of(filled).expect("zeros behind members").len(), 3000);
    let followed = [members.as_slice(), &[0, 0, 7, 7]].concat();
    assert!(fault_of(followed).contains("gzip is cut short or damaged"));
}

#[test]
fn compressed_files_that_are_cut_short_or_no_rows_are_named() {
    let rows: String = (0..3000)
        .map(|number| format!("{{\"problem\": \"{number}\", \"answer\": 1}}\n"))
        .collect();
    for (name, packed) in [("gzip", gzip(rows.as_bytes())), ("zstd", zstd(rows.as_bytes()))] {
        let fault = fault_of(&packed[..packed.len() / 2]);
        assert!(
            fault.contains(name) && fault.contains("cut short or damaged"),
            "{fault}"
        );
        let fault = fault_of(gzip(&packed));
        assert!(fault.contains("compressed twice"), "{fault}");
    }
    let mut damaged = gzip(rows.as_bytes());
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    damaged[middle + 1] ^= 0xAA;
    assert!(problems_of(&damaged).is_err());
    assert!(fault_of(gzip(b"")).contains("no rows"));
    assert!(fault_of(gzip(b"PAR1....PAR1")).contains("Parquet file within gzip"));
    assert!(fault_of(gzip(b"\xFF\xFE{\0")).contains("UTF-16"));
}

#[test]
fn what_expands_without_end_is_refused_early() {
    // 200 MiB of one row, in 200 KiB.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let blanks = vec![b'a'; 1 << 20];
    encoder.write_all(b"{\"problem\": \"").expect("compressed");
    for _ in 0..200 {
        encoder.write_all(&blanks).expect("compressed");
    }
    let bomb = encoder.finish().expect("compressed");
    let fault = fault_of(&bomb);
    assert!(fault.contains("a row has more than 64 MiB"), "{fault}");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"[{\"problem\": \"").expect("compressed");
    for _ in 0..200 {
        encoder.write_all(&blanks).expect("compressed");
    }
    let fault = fault_of(encoder.finish().expect("compressed"));
    assert!(fault.contains("a row has more than 64 MiB"), "{fault}");
}

#[test]
fn byte_order_marks_blank_lines_and_line_ends_do_not_matter() {
    for text in [
        format!("\u{FEFF}{ROW}"),
        format!("\u{FEFF}[{}]", ROW.trim()),
        ROW.replace('\n', "\r\n"),
        format!("\n\n  \r\n{ROW}\n\n"),
        ROW.trim().to_owned(),
        format!("  [\n{}\n]\n", ROW.trim()),
    ] {
        assert_eq!(problems_of(&text).expect("valid").len(), 1, "{text:?}");
    }
    let fault = fault_of("\n\n\u{2028}{\"problem\": \"a\"");
    assert!(fault.contains("line 3"), "{fault}");
}

#[test]
fn other_encodings_are_named_with_the_line() {
    let latin1 = [ROW.as_bytes(), b"{\"problem\": \"caf\xE9\", \"answer\": 1}\n"].concat();
    let fault = fault_of(&latin1);
    for part in ["line 2", "byte 17 is 0xE9", "Latin-1"] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
    let array = [
        b"[".as_slice(),
        ROW.trim().as_bytes(),
        b",{\"problem\": \"caf\xE9\", \"answer\": 1}]",
    ]
    .concat();
    let fault = fault_of(&array);
    assert!(fault.contains("row 1") && fault.contains("UTF-8"), "{fault}");
    let utf16 =
        |mark: &[u8], to: fn(u16) -> [u8; 2]| [mark, &ROW.encode_utf16().flat_map(to).collect::<Vec<u8>>()].concat();
    for bytes in [
        utf16(b"\xFF\xFE", u16::to_le_bytes),
        utf16(b"\xFE\xFF", u16::to_be_bytes),
        utf16(b"", u16::to_le_bytes),
        utf16(b"", u16::to_be_bytes),
    ] {
        let fault = fault_of(&bytes);
        assert!(fault.contains("line 1") && fault.contains("UTF-16"), "{fault}");
    }
}

#[test]
fn other_formats_are_named() {
    for (bytes, says) in [
        (&b"PK\x03\x04...."[..], "zip"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\xFD7zXZ\0\0", "xz"),
        (b"PARE....", "encrypted"),
        (b"ARROW1\0\0", "Arrow"),
        (b"\xFF\xFF\xFF\xFF\x10\0\0\0", "a stream of Arrow"),
        (b"SQLite format 3\0", "SQLite"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n",
            "git lfs pull",
        ),
    ] {
        let fault = fault_of(bytes);
        assert!(fault.contains(says), "{fault}");
    }
    for nothing in ["", "\n", "  \n \t\n", "[]", " [ ] "] {
        assert!(fault_of(nothing).contains("no rows"), "{nothing:?}");
    }
}

#[test]
fn a_setting_names_files_directories_and_patterns() {
    let files = Files::new();
    let row = |name: &str| format!("{{\"problem\": \"{name}\", \"answer\": 1}}\n");
    files
        .write("one.jsonl", row("one"))
        .write("set/train-00001-of-00002.jsonl", row("second"))
        .write("set/train-00000-of-00002.jsonl", row("first"))
        .write("set/README.md", "# A data set")
        .write("set/.hidden.jsonl", "no JSON")
        .write("set/dataset_infos.txt", "")
        .write("packed/train.jsonl.gz", gzip(row("packed").as_bytes()))
        .write("odd[1].jsonl", row("odd"));
    let problems = |names: &[&str]| -> Vec<String> {
        let set = files
            .read(names, Fields::default())
            .unwrap_or_else(|error| panic!("{names:?}: {error}"));
        set.rows.into_iter().map(|row| row.problem).collect()
    };
    assert_eq!(problems(&["one.jsonl"]), ["one"]);
    assert_eq!(problems(&["set"]), ["first", "second"]);
    assert_eq!(problems(&["set/"]), ["first", "second"]);
    assert_eq!(problems(&["set/train-*.jsonl"]), ["first", "second"]);
    assert_eq!(
        problems(&["set/train-0000?-of-00002.jsonl", "one.jsonl"]),
        ["first", "second", "one"]
    );
    assert_eq!(problems(&["*/train*"]), ["packed", "first", "second"]);
    assert_eq!(problems(&["packed"]), ["packed"]);
    assert_eq!(
        problems(&["odd[1].jsonl"]),
        ["odd"],
        "a file of this very name comes first"
    );
    let whole = files.path().join("one.jsonl");
    assert_eq!(problems(&[whole.to_str().expect("a path")]), ["one"]);
    let places: Vec<String> = files
        .read(&["set"], Fields::default())
        .expect("valid")
        .rows
        .into_iter()
        .map(|row| row.place)
        .collect();
    assert_eq!(
        places,
        ["train-00000-of-00002.jsonl line 1", "train-00001-of-00002.jsonl line 1"]
    );
}

#[test]
fn names_that_lead_to_no_rows_are_refused() {
    let files = Files::new();
    files
        .write("one.jsonl", ROW)
        .write("empty.jsonl", "")
        .write("splits/train.jsonl", ROW)
        .write("splits/test.jsonl", ROW)
        .write("saved/data-00000-of-00001.arrow", "")
        .write("saved/dataset_info.json", "{}")
        .write("saved/state.json", "{}")
        .write("dict/dataset_dict.json", "{}")
        .write("other/README.md", "# A data set");
    std::fs::create_dir(files.path().join("nothing")).expect("a directory");
    std::os::unix::fs::symlink("nowhere", files.path().join("dangling")).expect("a link");
    for (names, says) in [
        (&["two.jsonl"][..], "it must be a file that exists"),
        (&["dangling"], "it must be a file that exists"),
        (&["one.jsonl/two"], "directory"),
        (&["openai/gsm8k"], "hf://datasets/openai/gsm8k/PATH"),
        (&["nothing"], "it holds nothing"),
        (&["other"], "it holds README.md"),
        (&["splits"], "several splits (test, train)"),
        (&["saved"], "as save_to_disk or the cache of datasets keeps it"),
        (&["dict"], "as save_to_disk or the cache of datasets keeps it"),
        (&["two*.jsonl"], "some file matches"),
        (&["no*/x"], "some file matches"),
        (&["one[.jsonl"], "pattern that can be read"),
        (&["one.jsonl", "one.jsonl"], "is named twice"),
        (&["one.jsonl", "./one.jsonl"], "is named twice"),
        (&["one.jsonl", "*.jsonl"], "is named twice"),
        (&["one.jsonl", "empty.jsonl"], "empty.jsonl: it has no rows"),
    ] {
        let fault = files.fault(names);
        assert!(fault.contains(says), "{names:?}: {fault}");
    }
}

#[test]
fn splits_are_told_by_a_word_anywhere_in_a_name() {
    for (one, other, example) in [
        ("train", "val", "train*"),
        ("train", "valid", "train*"),
        ("train", "dev", "train*"),
        ("train", "testing", "train*"),
        ("train", "holdout", "train*"),
        ("train", "heldout", "train*"),
        ("math_train", "math_test", "math_train.jsonl"),
        ("gsm8k-train", "gsm8k-test", "gsm8k-train.jsonl"),
        ("train1", "test1", "train*"),
        ("val", "test", "test*"),
    ] {
        let files = Files::new();
        files
            .write(&format!("set/{one}.jsonl"), ROW)
            .write(&format!("set/{other}.jsonl"), ROW);
        let fault = files.fault(&["set"]);
        assert!(fault.contains("several splits"), "{one}, {other}: {fault}");
        assert!(
            fault.contains(&format!("such as \"set/{example}\"")),
            "{one}, {other}: {fault}"
        );
    }
    // Words that only hold the name of a split, and several files of one split.
    for (one, other) in [("train", "contest"), ("trains", "latest"), ("a_train", "b_train-2")] {
        let files = Files::new();
        files
            .write(&format!("set/{one}.jsonl"), ROW)
            .write(&format!("set/{other}.jsonl"), ROW);
        assert_eq!(
            files.read(&["set"], Fields::default()).expect("one split").rows.len(),
            1,
            "{one}, {other}"
        );
    }
}

#[test]
fn a_byte_order_mark_is_skipped_at_any_line() {
    let files = Files::new();
    files.write("both.jsonl", format!("\u{feff}{ROW}\n\u{feff}{ROW}\n"));
    assert_eq!(
        files
            .read(&["both.jsonl"], Fields::default())
            .expect("two rows")
            .tally
            .rows,
        2
    );
}

#[test]
fn what_is_no_regular_file_is_never_opened() {
    let files = Files::new();
    let fifo = files.path().join("fifo");
    nix_fifo(&fifo);
    files.write("set/a.jsonl", ROW);
    nix_fifo(&files.path().join("set/b.jsonl"));
    let socket = files.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    // Each of them would wait for ever, or never end.
    for (name, says) in [
        ("fifo", "a FIFO"),
        ("socket", "a socket"),
        ("/dev/zero", "a device"),
        ("/dev/tty", "a device"),
        ("set/*", "a FIFO"),
    ] {
        let fault = files.fault(&[name]);
        assert!(
            fault.contains("regular file") && fault.contains(says),
            "{name}: {fault}"
        );
    }
    let set = files
        .read(&["set"], Fields::default())
        .expect("what is no file in a directory is passed over");
    assert_eq!(set.rows.len(), 1);
}

fn nix_fifo(path: &std::path::Path) {
    let status = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo");
    assert!(status.success());
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let files = Files::new();
    files.write("secret.jsonl", ROW);
    let path = files.path().join("secret.jsonl");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("changed");
    // Nothing is secret to the super-user.
    if std::fs::File::open(&path).is_err() {
        let fault = files.fault(&["secret.jsonl"]);
        assert!(fault.contains("Permission denied"), "{fault}");
    }
}
