//! `anytime top`: what `anytime doctor` tells, again and again: on a screen of its own where there is a terminal, else one
//! report after another.

use std::io::IsTerminal as _;
use std::time::Duration;

use console::Term;

use crate::arguments::TopArgs;
use crate::doctor::{self, Examination, look};
use crate::interrupt::Interrupt;
use crate::learner::{Learner, is_unreachable};
use crate::output::print_line;
use crate::screen::Screen;

pub(super) async fn run(arguments: &TopArgs, json: bool) -> anyhow::Result<()> {
    let mut interrupt = Interrupt::try_new()?;
    let mut learner = Learner::try_new(&arguments.learner)?;
    // A wrong id, address or token ends the command before the screen changes.
    let mut seen = Some(see(&mut learner, arguments).await?);
    let is_on_screen = !json && std::io::stdout().is_terminal();
    let mut screen = is_on_screen.then(|| Screen::open(std::io::stdout())).transpose()?;
    let mut looks = 0;
    loop {
        let told = match seen.take() {
            Some(told) => told,
            None => tokio::select! {
                told = see(&mut learner, arguments) => told?,
                _ = interrupt.wait() => return Ok(()),
            },
        };
        match &mut screen {
            Some(screen) => {
                let (rows, columns) = Term::stdout().size();
                screen.draw(
                    &told.on_screen(arguments.interval),
                    usize::from(rows),
                    usize::from(columns),
                )?;
            }
            None if json => print_line(&told.json.to_string())?,
            None => print_line(&format!("{}\n", told.text))?,
        }
        looks += 1;
        if arguments.times.is_some_and(|times| looks >= times) {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(arguments.interval)) => {}
            // The way to end it, and no failure.
            _ = interrupt.wait() => return Ok(()),
        }
    }
}

/// One look.
struct Told {
    verdict: String,
    text: String,
    json: serde_json::Value,
}

impl Told {
    /// The verdict comes first, because a small screen does not show all.
    fn on_screen(&self, interval: u64) -> String {
        let verdict = &self.verdict;
        let rest = self.text.rsplit_once('\n').map_or("", |(rest, _)| rest);
        format!("anytime top  every {interval} s, ^C ends\nverdict     {verdict}\n\n{rest}")
    }
}

/// Looks once. A learner that is away is part of what there is to see, and is asked again.
async fn see(learner: &mut Learner, arguments: &TopArgs) -> anyhow::Result<Told> {
    match learner.diagnose(arguments.job.as_deref()).await {
        Ok(diagnosis) => {
            let examination = Examination::of(diagnosis, &arguments.learner);
            Ok(Told {
                text: doctor::in_words(&examination),
                json: doctor::to_json(&examination),
                verdict: examination.verdict,
            })
        }
        Err(error) if is_unreachable(&error) => {
            let found = look(&arguments.learner, &format!("{error:#}")).await?;
            Ok(Told {
                text: found.in_words(),
                json: found.to_json(),
                verdict: found.verdict,
            })
        }
        Err(error) => Err(error),
    }
}
