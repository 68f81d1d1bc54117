//! `anytime ask` and `anytime chat`: questions on the command line, with the thinking and the answer at every budget.

use std::io::{BufRead, IsTerminal as _, Read, Write};

use anyhow::Context as _;
use anytime_service::exit::{CONFIGURATION, ExitError, exit_code};
use anytime_service::security::CallSecurity;
use tokio::sync::mpsc;

use crate::arguments::{AskArgs, AskingArgs, ChatArgs};
use crate::asking::{Answerer, Conversation, View, check};
use crate::interrupt::{Interrupt, interrupted};
use crate::local::OwnServer;

/// Longest question, in bytes: as much as a server reads by default.
const LONGEST_QUESTION: usize = 4 << 20;

/// Ends a chat.
const EXIT: &str = "/exit";

/// Forgets the conversation.
const NEW: &str = "/new";

pub(super) async fn ask(arguments: AskArgs, json: bool) -> anyhow::Result<()> {
    let asking = &arguments.asking;
    check(asking)?;
    // Read before a server is started, so that a question that is none costs nothing.
    let mut interrupt = Interrupt::try_new()?;
    let text = match arguments.text {
        Some(text) => text,
        None => tokio::select! {
            text = standard_input() => text?,
            signal = interrupt.wait() => return Err(stopped(signal).into()),
        },
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        return Err(ExitError::configuration("TEXT is empty: it must be a question").into());
    }
    with_answerer(asking, &mut interrupt, async |answerer| {
        let mut conversation = Conversation::new(asking);
        conversation.ask(text);
        let mut view = view(json);
        let outcome = answerer.ask(conversation.body(), |news| view.show(news)).await;
        // What is said of an error stands on a line of its own.
        view.end_line()?;
        outcome
    })
    .await
}

pub(super) async fn chat(arguments: ChatArgs, json: bool) -> anyhow::Result<()> {
    let asking = &arguments.asking;
    check(asking)?;
    let mut interrupt = Interrupt::try_new()?;
    with_answerer(asking, &mut interrupt, async |answerer| {
        converse(&answerer, asking, json).await
    })
    .await
}

async fn converse(answerer: &Answerer, asking: &AskingArgs, json: bool) -> anyhow::Result<()> {
    let is_typed = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !json;
    let mut conversation = Conversation::new(asking);
    let mut view = view(json);
    let mut lines = lines_of_standard_input();
    if is_typed {
        eprintln!("{EXIT} or Ctrl-D ends the chat, {NEW} begins another one");
    }
    loop {
        if is_typed {
            write!(std::io::stdout(), "> ")?;
            std::io::stdout().flush()?;
        }
        let Some(line) = lines.recv().await else { break };
        let line = line?;
        match line.trim() {
            "" => continue,
            EXIT => return Ok(()),
            NEW => {
                conversation.forget();
                continue;
            }
            _ => {}
        }
        conversation.ask(&line);
        let outcome = answerer.ask(conversation.body(), |news| view.show(news)).await;
        view.end_line()?;
        match outcome {
            Ok(()) => conversation.answered(&view.take_content()),
            // Who types can put it otherwise; a script must learn of it.
            Err(error) if is_typed && exit_code(&error) == CONFIGURATION => {
                eprintln!("error: {error:#}");
                view.take_content();
                conversation.withdraw();
            }
            Err(error) => return Err(error),
        }
    }
    if is_typed {
        // Ctrl-D leaves the cursor behind the prompt.
        writeln!(std::io::stdout())?;
    }
    Ok(())
}

/// Does some work with the server that the arguments name, or with one that is started for it. A signal ends both.
async fn with_answerer(
    asking: &AskingArgs,
    interrupt: &mut Interrupt,
    work: impl AsyncFnOnce(Answerer) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(model) = &asking.model else {
        let address = asking.server.as_deref().unwrap_or_default();
        let security = CallSecurity::load(&asking.security.identity, &asking.security.calling)?;
        let answerer = Answerer::try_new(address, &security, asking.timeout)?;
        for warning in security.warnings() {
            eprintln!("warning: {warning}");
        }
        return tokio::select! {
            result = work(answerer) => result,
            signal = interrupt.wait() => Err(stopped(signal).into()),
        };
    };
    let mut own = OwnServer::start(model, asking)?;
    let whole = async {
        let address = own.address().await?;
        // The token for servers elsewhere is none of its business.
        let security = CallSecurity::default();
        work(Answerer::try_new(&address, &security, asking.timeout)?).await
    };
    let result = tokio::select! {
        result = whole => result,
        signal = interrupt.wait() => Err(stopped(signal).into()),
    };
    own.end_after(result).await
}

fn stopped(signal: &str) -> ExitError {
    interrupted(format!("{signal}: stopped"))
}

fn view(json: bool) -> View<std::io::Stdout> {
    let stdout = std::io::stdout();
    let has_style = stdout.is_terminal();
    View::new(stdout, json, has_style)
}

/// All of standard input. A thread reads it, because a read cannot be given up.
async fn standard_input() -> anyhow::Result<String> {
    let (sender, mut receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = std::io::stdin()
            .lock()
            .take(LONGEST_QUESTION as u64 + 1)
            .read_to_end(&mut bytes);
        // Nobody waits for it after a signal.
        let _ = sender.blocking_send(read.map(|_| bytes));
    });
    let bytes = receiver.recv().await.unwrap_or_else(|| Ok(Vec::new()));
    Ok(text_of(bytes.context("read standard input")?)?)
}

/// The lines of standard input, as they come.
fn lines_of_standard_input() -> mpsc::Receiver<anyhow::Result<String>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        loop {
            let mut bytes = Vec::new();
            let most = LONGEST_QUESTION as u64 + 1;
            let read = std::io::stdin().lock().take(most).read_until(b'\n', &mut bytes);
            let line = match read {
                Ok(0) => return,
                Ok(_) => text_of(bytes).map_err(anyhow::Error::from),
                Err(error) => Err(anyhow::Error::new(error).context("read standard input")),
            };
            let line = line.map(|line| line.trim_end_matches(['\r', '\n']).to_owned());
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

fn text_of(bytes: Vec<u8>) -> Result<String, ExitError> {
    if bytes.len() > LONGEST_QUESTION {
        let message = format!("standard input has more than {LONGEST_QUESTION} bytes: it must be a shorter question");
        return Err(ExitError::configuration(message));
    }
    String::from_utf8(bytes).map_err(|_| ExitError::configuration("standard input is no UTF-8: it must be a text"))
}
