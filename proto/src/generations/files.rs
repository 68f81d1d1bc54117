//! The files of kept generations: their names, which there are, and finding a problem in one.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::ProblemHead;

/// The directory inside the job's.
pub const DIRECTORY: &str = "generations";

/// How many ids an error names at most.
const EXAMPLES: usize = 8;

/// The file of the evaluation after a training step.
pub fn step_file(step: u64) -> String {
    format!("step-{step:08}.jsonl")
}

/// Why nothing was found.
#[derive(Debug, Error)]
pub enum LookupError {
    /// The job has no kept generations.
    #[error(
        "{0} has no kept generations: nothing has been evaluated there yet, or `evaluation.keep_generations` is false"
    )]
    Nothing(String),
    /// There are some, but not of this step.
    #[error("no generations were kept at step {step}; there are those of {}", list(.steps))]
    Step {
        /// The step that was asked for.
        step: u64,
        /// The steps that there are, ascending.
        steps: Vec<u64>,
    },
    /// No problem has this id or row number.
    #[error("no problem has the id or row number `{problem}`; the {count} problems have the ids {examples}")]
    Problem {
        /// The id or row number that was asked for.
        problem: String,
        /// The number of problems.
        count: usize,
        /// Some of their ids.
        examples: String,
    },
    /// Several problems have this id.
    #[error("the problems of the rows {} all have the id `{problem}`: name one by its row number", list(.rows))]
    Ambiguous {
        /// The id or row number that was asked for.
        problem: String,
        /// The row numbers that have this id.
        rows: Vec<u64>,
    },
    /// A line cannot be read.
    #[error("{path} line {line} is damaged: {error}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What the JSON reader found.
        error: serde_json::Error,
    },
    /// The disk refuses.
    #[error("{path} cannot be read: {error}", path = .path.display())]
    Unreadable {
        /// File or directory.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl LookupError {
    /// Whether the fault is on the disk, not in what was asked for.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Unreadable { .. })
    }
}

fn list(numbers: &[u64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    numbers.join(", ")
}

/// The training steps whose evaluations were kept in a job's directory, ascending.
///
/// # Errors
/// If the directory is there and cannot be listed.
pub fn kept_steps(job_directory: &Path) -> Result<Vec<u64>, LookupError> {
    let path = job_directory.join(DIRECTORY);
    let unreadable = |error| LookupError::Unreadable {
        path: path.clone(),
        error,
    };
    let listing = match std::fs::read_dir(&path) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut steps = Vec::new();
    for item in listing {
        let name = item.map_err(unreadable)?.file_name();
        let step = name
            .to_str()
            .and_then(|name| name.strip_prefix("step-")?.strip_suffix(".jsonl"));
        steps.extend(step.and_then(|step| step.parse::<u64>().ok()));
    }
    steps.sort_unstable();
    Ok(steps)
}

/// One file of kept generations.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The training step after which they were generated.
    pub step: u64,
    /// The file.
    pub path: PathBuf,
}

impl Kept {
    /// The generations of a step, or the newest ones.
    ///
    /// # Errors
    /// If there are none, or none of that step.
    pub fn find(job_directory: &Path, step: Option<u64>) -> Result<Self, LookupError> {
        let steps = kept_steps(job_directory)?;
        let Some(newest) = steps.last().copied() else {
            return Err(LookupError::Nothing(job_directory.display().to_string()));
        };
        let step = step.unwrap_or(newest);
        if !steps.contains(&step) {
            return Err(LookupError::Step { step, steps });
        }
        let path = job_directory.join(DIRECTORY).join(step_file(step));
        Ok(Self { step, path })
    }

    /// All problems, in the order of the data set. Those of damaged lines are left out.
    ///
    /// # Errors
    /// If the file cannot be read, or none of its lines can.
    pub fn problems(&self) -> Result<Vec<ProblemHead>, LookupError> {
        let mut heads = Vec::new();
        match self.each_line(|head, _| heads.push(head))? {
            Some(damaged) if heads.is_empty() => Err(damaged),
            _ => Ok(heads),
        }
    }

    /// The line of the problem with this id, else of the one with this row number.
    ///
    /// # Errors
    /// If there is none, several share the id, the file cannot be read, or a damaged line may be the problem's.
    pub fn line(&self, problem: &str) -> Result<String, LookupError> {
        let row: Option<u64> = problem.parse().ok();
        let mut by_id: Option<String> = None;
        let mut by_row: Option<String> = None;
        let mut rows_of_id = Vec::new();
        let mut count = 0;
        let mut examples = Vec::new();
        let damaged = self.each_line(|head, line| {
            count += 1;
            if head.id == problem {
                rows_of_id.push(head.row);
                by_id.get_or_insert_with(|| line.to_owned());
            }
            if row == Some(head.row) {
                by_row = Some(line.to_owned());
            }
            if examples.len() < EXAMPLES {
                examples.push(head.id);
            }
        })?;
        // Several share the id: then only the row number says which, and it may be what was meant.
        if rows_of_id.len() > 1 && by_row.is_none() {
            return Err(LookupError::Ambiguous {
                problem: problem.to_owned(),
                rows: rows_of_id,
            });
        }
        let by_id = by_id.filter(|_| rows_of_id.len() == 1);
        let found = by_id.or(by_row);
        if found.is_none()
            && let Some(damaged) = damaged
        {
            return Err(damaged);
        }
        found.ok_or_else(|| {
            let more = if count > examples.len() { ", …" } else { "" };
            LookupError::Problem {
                problem: problem.to_owned(),
                count,
                examples: format!("{}{more}", examples.join(", ")),
            }
        })
    }

    /// Reads line by line: the file may be far larger than memory. Gives the first line that is damaged; the others are
    /// as good as they were.
    fn each_line(&self, mut take: impl FnMut(ProblemHead, &str)) -> Result<Option<LookupError>, LookupError> {
        let unreadable = |error| LookupError::Unreadable {
            path: self.path.clone(),
            error,
        };
        let mut reader = BufReader::new(File::open(&self.path).map_err(unreadable)?);
        let mut line = Vec::new();
        let mut number = 0;
        let mut damaged = None;
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
                return Ok(damaged);
            }
            number += 1;
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches('\n');
            match serde_json::from_str(text) {
                Ok(head) => take(head, text),
                Err(error) => {
                    damaged.get_or_insert(LookupError::Damaged {
                        path: self.path.clone(),
                        line: number,
                        error,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{KeptProblem, KeptTrace};
    use super::*;

    fn write(directory: &Path, step: u64, problems: &[(u64, &str)]) {
        let mut text = String::new();
        for (row, id) in problems {
            let problem = KeptProblem {
                head: ProblemHead {
                    row: *row,
                    id: (*id).to_owned(),
                    budgets: vec![4, 8],
                    accuracy: vec![0.5, 1.0],
                    ..ProblemHead::default()
                },
                traces: vec![KeptTrace {
                    thinking: format!("thoughts of row {row}"),
                    ..KeptTrace::default()
                }],
            };
            text.push_str(&serde_json::to_string(&problem).expect("serialisable"));
            text.push('\n');
        }
        let directory = directory.join(DIRECTORY);
        std::fs::create_dir_all(&directory).expect("directory");
        std::fs::write(directory.join(step_file(step)), text).expect("file");
    }

    #[test]
    fn problems_are_found_by_id_and_by_row() {
        let directory = tempfile::tempdir().expect("directory");
        write(directory.path(), 0, &[(0, "0")]);
        write(
            directory.path(),
            12,
            &[(0, "a"), (2, "7"), (7, "b"), (9, "twice"), (10, "twice")],
        );
        std::fs::write(directory.path().join(DIRECTORY).join("step-00000013.jsonl.tmp"), "{").expect("file");
        assert_eq!(kept_steps(directory.path()).expect("listed"), [0, 12]);

        let kept = Kept::find(directory.path(), None).expect("found");
        assert_eq!(kept.step, 12);
        let rows: Vec<u64> = kept.problems().expect("read").iter().map(|head| head.row).collect();
        assert_eq!(rows, [0, 2, 7, 9, 10]);
        // An id comes before a row number.
        for (asked, row) in [("a", 0), ("0", 0), ("7", 2), ("2", 2), ("9", 9)] {
            let line = kept.line(asked).expect(asked);
            let problem: KeptProblem = serde_json::from_str(&line).expect("a problem");
            assert_eq!(problem.head.row, row, "{asked}");
            assert_eq!(problem.traces[0].thinking, format!("thoughts of row {row}"));
            assert_eq!(problem.head.anytime(), 0.75);
        }
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is() {
        let directory = tempfile::tempdir().expect("directory");
        let nothing = Kept::find(directory.path(), None).expect_err("nothing").to_string();
        assert!(nothing.contains("evaluation.keep_generations"), "{nothing}");
        write(directory.path(), 3, &[(0, "a"), (9, "twice"), (10, "twice")]);
        write(directory.path(), 6, &[(0, "a")]);
        let step = Kept::find(directory.path(), Some(4))
            .expect_err("no such step")
            .to_string();
        assert!(step.contains("step 4") && step.ends_with("3, 6"), "{step}");
        let kept = Kept::find(directory.path(), Some(3)).expect("found");
        let problem = kept.line("c").expect_err("no such problem").to_string();
        assert!(
            problem.contains("`c`") && problem.contains("a, twice, twice"),
            "{problem}"
        );
        let ambiguous = kept.line("twice").expect_err("two of them").to_string();
        assert!(ambiguous.contains("9, 10"), "{ambiguous}");
    }

    #[test]
    fn a_damaged_line_costs_its_own_problem_alone_and_is_named() {
        let directory = tempfile::tempdir().expect("directory");
        write(directory.path(), 3, &[(0, "a"), (2, "c")]);
        let kept = Kept::find(directory.path(), None).expect("found");
        let text = std::fs::read_to_string(&kept.path).expect("read");
        let (first, last) = text.split_once('\n').expect("two lines");
        let torn: &[u8] = b"{\"row\": 1, \"id\": \"b\", \"prob\xff";
        let bytes = [first.as_bytes(), b"\n", torn, b"\n", last.as_bytes()].concat();
        std::fs::write(&kept.path, bytes).expect("written");
        let ids: Vec<String> = kept.problems().expect("read").into_iter().map(|head| head.id).collect();
        assert_eq!(ids, ["a", "c"]);
        assert!(kept.line("a").is_ok() && kept.line("2").is_ok());
        let error = kept.line("b").expect_err("damaged");
        assert!(
            error.is_of_the_disk() && error.to_string().contains("line 2"),
            "{error}"
        );
        std::fs::write(&kept.path, torn).expect("written");
        assert!(kept.problems().expect_err("nothing is left").is_of_the_disk());
    }
}
