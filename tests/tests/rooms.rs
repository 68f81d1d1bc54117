//! Imports run down, crates know only whom they may know, and no files import each other in a circle: every crate is
//! held against the table of rooms in ARCHITECTURE.md. What the check would catch is planted first, in a small house.

use std::path::{Path, PathBuf};

use anytime_tests::rooms::check;

const TABLE: &str = "
<!-- rooms:begin -->
### Crates

| room | what lives there | may use |
|---|---|---|
| `top` | services | `low` |
| `other` | tools | `low` |
| `low` | messages | nothing |

### `top`

| room | what lives there | may use |
|---|---|---|
| `main` | the process | below |
| `upper`, `beside` | two rooms that do not know each other | below |
| `shelf` | files | `lower` |
| `cellar` | what the shelf must not use | nothing |
| `lower/` | data | nothing |
<!-- rooms:end -->
";

/// A workspace of three crates, the topmost with rooms.
struct House {
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let house = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        house.write("ARCHITECTURE.md", TABLE);
        house.write("Cargo.toml", "[workspace]\nmembers = [\"top\", \"other\", \"low\"]");
        house.write(
            "top/Cargo.toml",
            "[package]\nname = \"the-top\"\n[dependencies]\nlow.workspace = true",
        );
        house.write(
            "other/Cargo.toml",
            "[package]\nname = \"other\"\n[dependencies]\nlow.workspace = true",
        );
        house.write("low/Cargo.toml", "[package]\nname = \"low\"");
        house.write("other/src/lib.rs", "");
        house.write("low/src/lib.rs", "");
        house.write(
            "top/src/lib.rs",
            "pub mod beside;\npub mod cellar;\npub mod lower;\npub mod shelf;\npub mod upper;",
        );
        house.write("top/src/main.rs", "use the_top::upper;\nfn main() { upper::work(); }");
        house.write("top/src/beside.rs", "");
        house.write("top/src/shelf.rs", "use crate::lower::Row;");
        house.write("top/src/cellar.rs", "pub struct Wine;");
        house.write(
            "top/src/upper.rs",
            "use crate::lower::Row;\npub fn work() -> Row { Row }",
        );
        house.write("top/src/lower/mod.rs", "mod order;\nmod row;\npub use row::Row;");
        house.write("top/src/lower/row.rs", "pub struct Row;");
        house.write("top/src/lower/order.rs", "use super::Row;\npub struct Order(Row);");
        house
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// What the check says after one file has been written.
    fn with(name: &str, text: &str) -> Vec<String> {
        let house = Self::new();
        house.write(name, text);
        check(house.folder.path())
    }
}

fn assert_one(breaches: &[String], parts: &[&str]) {
    assert_eq!(breaches.len(), 1, "{breaches:#?}");
    for part in parts {
        assert!(breaches[0].contains(part), "{part:?} is not in {breaches:#?}");
    }
}

#[test]
fn every_crate_follows_the_table() {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let breaches = check(&root);
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn a_house_in_order_has_no_breaches() {
    assert_eq!(check(House::new().folder.path()), Vec::<String>::new());
}

#[test]
fn an_import_that_runs_up_is_caught() {
    let expected = ["top/src/lower/row.rs", "top/src/upper.rs", "`upper`", "`lower`"];
    for text in [
        "use crate::upper::Limit;\npub struct Row;",
        "use super::super::upper::Limit;\npub struct Row;",
        "pub struct Row;\nfn limit() -> usize { crate::upper::LIMIT }",
        "pub struct Row;\nfn limit() { println!(\"{}\", crate::upper::LIMIT); }",
        "pub struct Row;\nfn limit() { use crate::upper::LIMIT; }",
        "pub use crate::upper::Limit;\npub struct Row;",
    ] {
        let house = House::new();
        house.write(
            "top/src/upper.rs",
            "pub const LIMIT: usize = 1;\npub struct Limit;\npub fn work() {}",
        );
        house.write("top/src/lower/row.rs", text);
        assert_one(&check(house.folder.path()), &expected);
    }
    let between = House::with("top/src/beside.rs", "use crate::upper::work;");
    assert_one(&between, &["top/src/beside.rs takes work from top/src/upper.rs"]);
    let not_named = House::with("top/src/shelf.rs", "use crate::cellar::Wine;");
    assert_one(&not_named, &["the room `shelf` must not use `cellar`"]);
}

#[test]
fn a_crate_that_knows_one_it_must_not_know_is_caught() {
    let manifest = "[package]\nname = \"low\"\n[dependencies]\nthe-top.workspace = true";
    assert_one(&House::with("low/Cargo.toml", manifest), &["`low` must not know `top`"]);
    let manifest = "[package]\nname = \"other\"\n[dependencies]\nthe-top = { path = \"../top\" }";
    assert_one(
        &House::with("other/Cargo.toml", manifest),
        &["`other` must not know `top`"],
    );
    let of_tests = "[package]\nname = \"the-top\"\n[dev-dependencies]\nother.workspace = true";
    assert_one(
        &House::with("top/Cargo.toml", of_tests),
        &["`top` must not know `other`", "[dev-dependencies]"],
    );
}

#[test]
fn a_circle_of_files_is_caught() {
    let row = "use super::order::Order;\npub struct Row;\npub fn first() -> Option<Order> { None }";
    let expected = [
        "circle of 2 files",
        "lower/row.rs takes Order",
        "lower/order.rs takes Row",
    ];
    assert_one(&House::with("top/src/lower/row.rs", row), &expected);
    // Also through the file that passes names on.
    let house = House::new();
    house.write(
        "top/src/lower/mod.rs",
        "mod order;\nmod row;\npub use order::Order;\npub use row::Row;",
    );
    house.write(
        "top/src/lower/row.rs",
        "pub struct Row;\npub fn first() -> Option<crate::lower::Order> { None }",
    );
    assert_one(&check(house.folder.path()), &expected);
    // Tests may look back.
    let row = "pub struct Row;\n#[cfg(test)]\nmod tests { use super::super::order::Order; }";
    assert_eq!(House::with("top/src/lower/row.rs", row), Vec::<String>::new());
}

#[test]
fn a_room_or_crate_that_the_table_leaves_out_or_invents_is_caught() {
    let house = House::new();
    house.write(
        "top/src/lib.rs",
        "pub mod attic;\npub mod beside;\npub mod cellar;\npub mod lower;\npub mod shelf;\npub mod upper;",
    );
    house.write("top/src/attic.rs", "");
    assert_one(&check(house.folder.path()), &["`top`", "leaves out", "`attic`"]);
    let invented = TABLE.replace("| `lower/`", "| `loft` | nothing | below |\n| `lower/`");
    assert_one(
        &House::with("ARCHITECTURE.md", &invented),
        &["`loft`", "does not exist"],
    );
    let left_out = TABLE.replace("| `other` | tools | `low` |\n", "");
    assert_one(&House::with("ARCHITECTURE.md", &left_out), &["leaves out", "`other`"]);
    let invented = TABLE.replace("| `other` |", "| `nobody` | nothing | below |\n| `other` |");
    assert_one(
        &House::with("ARCHITECTURE.md", &invented),
        &["`nobody`", "does not exist"],
    );
}
