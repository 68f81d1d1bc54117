//! Signs that take no part in calculations, each in one spelling: `\neg`, `\lnot` and `¬` are one sign.

/// The sign that a LaTeX command without its backslash stands for.
pub(super) fn command(name: &str) -> Option<&'static str> {
    Some(match name {
        "neg" | "lnot" => "\\neg",
        "to" | "rightarrow" | "longrightarrow" => "\\to",
        "gets" | "leftarrow" | "longleftarrow" => "\\gets",
        "mapsto" | "longmapsto" => "\\mapsto",
        "iff" | "Leftrightarrow" | "Longleftrightarrow" => "\\iff",
        "cap" => "\\cap",
        "subset" => "\\subset",
        "subseteq" => "\\subseteq",
        "supset" => "\\supset",
        "supseteq" => "\\supseteq",
        "notin" => "\\notin",
        "ni" | "owns" => "\\ni",
        "equiv" => "\\equiv",
        "sim" => "\\sim",
        "propto" | "varpropto" => "\\propto",
        "forall" => "\\forall",
        "exists" => "\\exists",
        "nexists" => "\\nexists",
        "parallel" => "\\parallel",
        "perp" | "bot" => "\\perp",
        "oplus" => "\\oplus",
        "otimes" => "\\otimes",
        "sum" => "\\sum",
        "prod" => "\\prod",
        "int" | "intop" => "\\int",
        "oint" => "\\oint",
        "aleph" => "\\aleph",
        _ => return None,
    })
}

/// The sign that a character beyond ASCII stands for.
pub(super) fn character(next: char) -> Option<&'static str> {
    command(match next {
        '¬' => "neg",
        '→' | '⟶' => "to",
        '←' | '⟵' => "gets",
        '↦' => "mapsto",
        '⇔' | '⟺' => "iff",
        '∩' => "cap",
        '⊂' => "subset",
        '⊆' => "subseteq",
        '⊃' => "supset",
        '⊇' => "supseteq",
        '∉' => "notin",
        '∋' => "ni",
        '≡' => "equiv",
        '∼' => "sim",
        '∝' => "propto",
        '∀' => "forall",
        '∃' => "exists",
        '∄' => "nexists",
        '∥' => "parallel",
        '⊥' => "perp",
        '⊕' => "oplus",
        '⊗' => "otimes",
        '∑' => "sum",
        '∏' => "prod",
        '∫' => "int",
        '∮' => "oint",
        'ℵ' => "aleph",
        _ => return None,
    })
}

/// Whether a sign begins a sum, a product, an integral or a limit.
pub(super) fn is_operator(sign: &str) -> bool {
    matches!(sign, "\\sum" | "\\prod" | "\\int" | "\\lim" | "\\limsup" | "\\liminf")
}
