//! What a reader of TOML says about a setting, in the words of those who write job files instead of Rust's.

use super::removed::why_removed;

/// The sentence of a message such as ``invalid type: string "often", expected u64``. What it does not know, such as an
/// error of syntax, it returns as it is.
pub fn in_plain_words(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (name, known) = rest.split_once(", ").unwrap_or((rest, ""));
        let known = known
            .trim_start_matches("expected ")
            .trim_start_matches("one of ")
            .replace("` or `", "`, `");
        let names: Vec<&str> = known.split(", ").map(|name| name.trim_matches('`')).collect();
        if let Some(reason) = why_removed(name.trim_matches('`'), &names) {
            return format!("there is no setting {name} here any more: {reason}");
        }
        return format!("there is no setting {name} here; the settings are {known}");
    }
    match message {
        "duplicate key" => return "it is written twice; it must be written once".to_owned(),
        "u64 value was too large" => return format!("it is too large; it must be up to {}", i64::MAX),
        _ => {}
    }
    let mistyped = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "));
    match mistyped.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => format!("it is {}; it must be {}", found_as(found), expected_as(expected)),
        None => message.to_owned(),
    }
}

fn found_as(found: &str) -> String {
    for (kind, plain) in [
        ("string ", "the text "),
        ("integer ", ""),
        ("floating point ", ""),
        ("boolean ", ""),
    ] {
        if let Some(value) = found.strip_prefix(kind) {
            return format!("{plain}{}", value.trim_matches('`'));
        }
    }
    match found {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        other => other.to_owned(),
    }
}

fn expected_as(expected: &str) -> &str {
    match expected {
        "u32" => "a whole number from 0 to 4294967295",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "u64" => "a whole number, 0 or more",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "a text in quotes",
        "a sequence" => "a list",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::in_plain_words;

    #[test]
    fn nothing_of_rust_is_left() {
        let cases = [
            (
                "invalid type: string \"often, expected u32\", expected u64",
                "it is the text \"often, expected u32\"; it must be a whole number, 0 or more",
            ),
            (
                "invalid type: floating point `8.5`, expected f64",
                "it is 8.5; it must be a number",
            ),
            (
                "invalid value: integer `-8`, expected u32",
                "it is -8; it must be a whole number from 0 to 4294967295",
            ),
            (
                "invalid type: sequence, expected a boolean",
                "it is a list; it must be true or false",
            ),
            (
                "invalid type: map, expected a sequence",
                "it is a table; it must be a list",
            ),
            (
                "unknown field `x`, expected `keep` or `metric`",
                "there is no setting `x` here; the settings are `keep`, `metric`",
            ),
            (
                "unknown field `x`, expected one of `a`, `b`, `c`",
                "there is no setting `x` here; the settings are `a`, `b`, `c`",
            ),
            (
                "u64 value was too large",
                "it is too large; it must be up to 9223372036854775807",
            ),
            ("duplicate key", "it is written twice; it must be written once"),
            ("unclosed array, expected `]`", "unclosed array, expected `]`"),
        ];
        for (message, plain) in cases {
            assert_eq!(in_plain_words(message), plain);
        }
    }
}
