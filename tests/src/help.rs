//! What the programs say of their own arguments, so that files which name them can be held against it.

use std::collections::BTreeSet;
use std::process::Command;

use crate::programs::binary;

/// The arguments that a command takes, as its `--help` lists them.
#[derive(Clone, Debug)]
pub struct Help {
    /// As `--listen`.
    pub flags: BTreeSet<String>,
    /// As `ANYTIME_LISTEN`.
    pub variables: BTreeSet<String>,
    /// All of it.
    pub text: String,
}

impl Help {
    /// Asks `PROGRAM SUBCOMMANDS --help`.
    pub fn of(program: &str, subcommands: &[String]) -> Self {
        let mut command = Command::new(binary(program));
        command.args(subcommands).arg("--help");
        let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(
            output.status.success(),
            "{program} {subcommands:?} --help: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self::read(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn read(text: String) -> Self {
        let flags = text.lines().filter_map(flag).collect();
        let variables = text.split("[env: ").skip(1).filter_map(|rest| rest.split('=').next());
        let variables = variables.map(str::to_owned).collect();
        Self { flags, variables, text }
    }

    /// The subcommands that it lists.
    pub fn commands(&self) -> BTreeSet<String> {
        let lines = self.text.lines().skip_while(|line| *line != "Commands:").skip(1);
        let listed = lines.take_while(|line| !line.is_empty());
        // Lines that go on are indented further.
        let named = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        named
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect()
    }

    /// What of a command line, the program left out, is no argument of this command. The value of an argument stands in
    /// the same word or in the next.
    pub fn unknown_flags(&self, line: &[String]) -> Vec<String> {
        let mut unknown = Vec::new();
        for word in line.iter().filter(|word| word.starts_with("--")) {
            let name = word.split('=').next().unwrap_or_default();
            if !self.flags.contains(name) {
                unknown.push(name.to_owned());
            }
        }
        unknown
    }
}

/// The argument that a line of the list begins with.
fn flag(line: &str) -> Option<String> {
    let line = line.trim_start();
    let line = line
        .strip_prefix("-h, ")
        .or_else(|| line.strip_prefix("-V, "))
        .unwrap_or(line);
    if !line.starts_with("--") {
        return None;
    }
    let is_part = |each: char| each.is_ascii_alphanumeric() || each == '-';
    let end = line.find(|each: char| !is_part(each)).unwrap_or(line.len());
    Some(line[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_variables_are_read_from_the_list() {
        let text = "Usage: x [OPTIONS]\n\nOptions:\n      --listen <LISTEN>  Where to listen, unlike --port [env: \
                    ANYTIME_LISTEN=] [default: 127.0.0.1:1]\n      --insecure\n          For some [env: ANYTIME_INSECURE=1]\n  \
                    -h, --help  Print help\n";
        let help = Help::read(text.to_owned());
        assert_eq!(
            help.flags.iter().map(String::as_str).collect::<Vec<_>>(),
            ["--help", "--insecure", "--listen"]
        );
        assert_eq!(
            help.variables.iter().map(String::as_str).collect::<Vec<_>>(),
            ["ANYTIME_INSECURE", "ANYTIME_LISTEN"]
        );
        let line = ["serve", "--listen=1", "--insecure", "--port", "1"].map(str::to_owned);
        assert_eq!(help.unknown_flags(&line), ["--port"]);
    }
}
