//! Questions on the command line: `anytime ask` and `anytime chat` with real servers, their own and others'.
#![allow(clippy::unwrap_used)]

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};

use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::{Ended, Workplace};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::serve::{draw_weights, start};

/// How the demo's model is asked by a server of the command's own.
const OWN: [&str; 15] = [
    "--device",
    "cpu",
    "--",
    "--slots",
    "8",
    "--max-prompt-tokens",
    "64",
    "--max-summary-tokens",
    "4",
    "--cache-gib",
    "0.2",
    "--markers-cut",
    "...",
    "--markers-summary",
    "\n\n**Final Answer**\n\\boxed{",
];

/// A chat template, which a conversation needs. The demo's vocabulary cannot spell its own answers.
const TEMPLATE: &str =
    "{% for message in messages %}{% if message.role == 'user' %}{{ message.content }}{% endif %}{% endfor %}";

fn events(ended: &Ended) -> Vec<Value> {
    let lines = ended.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["event"].as_str()).collect()
}

/// Where the servers of the commands have their addresses and logs.
fn temporary(workplace: &Workplace) -> PathBuf {
    workplace.path("tmp")
}

/// A chat whose questions are written as it goes on.
struct Chat {
    child: Child,
    input: Option<ChildStdin>,
    output: PathBuf,
}

impl Chat {
    fn start(workplace: &Workplace, arguments: &[&str]) -> Self {
        let output = workplace.path("chat.out");
        let mut command = workplace.command(arguments);
        let file = std::fs::File::create(&output).unwrap();
        command
            .stdin(Stdio::piped())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0);
        command.env("TMPDIR", temporary(workplace));
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        Self { child, input, output }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    async fn answers(&self, count: usize) {
        let told = async || {
            let text = self.text();
            assert!(!text.contains("error: "), "{text}");
            (text.matches("\"event\":\"end\"").count() >= count).then_some(())
        };
        eventually("an answer", 60, told).await;
    }

    async fn code(&mut self) -> i32 {
        let status = eventually("the end of the chat", 20, async || self.child.try_wait().unwrap()).await;
        status.code().unwrap_or_else(|| panic!("{status}"))
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_answered_at_every_budget_by_a_server_that_runs() {
    within(90, async {
        let workplace = Workplace::new();
        draw_weights(&workplace);
        let access = workplace.path("access");
        std::fs::write(&access, "submit token submit-submit-submit-submit\n").unwrap();
        let token = workplace.path("token");
        std::fs::write(&token, "submit-submit-submit-submit\n").unwrap();
        std::fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
        let serving = start(&workplace, &["--access", access.to_str().unwrap()]).await;
        let token = token.to_str().unwrap();
        let to = ["--server", &serving.url, "--token-file", token];
        let ask = async |arguments: &[&str], code: i32| {
            let all = [&["ask"], arguments, &to].concat();
            workplace.anytime(&all, 30).await.expect(code)
        };

        let asked = ["--json", "3+4=", "--budgets", "2,6", "--summaries", "3", "--seed", "3"];
        let answered = ask(&asked, 0).await;
        let told = events(&answered);
        let budgets: Vec<u64> = told.iter().filter_map(|event| event["budget"].as_u64()).collect();
        assert_eq!(budgets, [2, 6]);
        assert!(names(&told).starts_with(&["thinking"]), "{told:?}");
        let end = told.last().unwrap();
        assert_eq!(end["event"], "end");
        assert!(end["thinking_tokens"].as_u64().unwrap() <= 6 && end["usage"]["total_tokens"].as_u64() > Some(6));
        // The same over again, for people: what is written is the same answer.
        let text = ask(&asked[1..], 0).await.stdout;
        let content = told.iter().find(|event| event["event"] == "content").unwrap();
        assert!(
            text.contains("-- budget 2: ") && text.contains("-- the thinking ended"),
            "{text}"
        );
        assert!(
            text.contains(content["text"].as_str().unwrap().trim()),
            "{text}\n{content}"
        );
        // One budget has those of the model before it.
        let told = events(&ask(&["--json", "3+4=", "--budget", "6", "--temperature", "0"], 0).await);
        let budgets: Vec<u64> = told.iter().filter_map(|event| event["budget"].as_u64()).collect();
        assert_eq!(budgets, [4, 6]);

        // What is refused is one sentence, with its exit code.
        let refused = ask(&["3+4=", "--budget", "9999"], 64).await;
        let sentence = format!(
            "error: {}: thinking_token_budget is 9999: it must be a whole number from 1 to 32\n",
            serving.url
        );
        assert_eq!(refused.stderr, sentence);
        let refused = ask(&["a", "--budget", "4", "--budgets", "4"], 64).await;
        assert!(refused.stderr.contains("cannot be used with"), "{}", refused.stderr);
        assert!(
            ask(&[" \n"], 64)
                .await
                .stderr
                .contains("TEXT is empty: it must be a question")
        );
        let nobody = workplace
            .anytime(&["ask", "3+4=", "--server", &serving.url], 30)
            .await
            .expect(64);
        assert!(nobody.stderr.contains("--token-file"), "{}", nobody.stderr);
        let nowhere = workplace
            .anytime(&["ask", "a", "--server", "127.0.0.1:1"], 30)
            .await
            .expect(69);
        assert!(
            nowhere.stderr.starts_with("error: 127.0.0.1:1 cannot be reached: "),
            "{}",
            nowhere.stderr
        );

        // Standard input is a question as well; one that is too large is not sent.
        let from_file = async |bytes: &[u8], code: i32| {
            let file = workplace.path("question");
            std::fs::write(&file, bytes).unwrap();
            let mut command = workplace.command(&[&["ask", "--json"][..], &to].concat());
            command.stdin(std::fs::File::open(&file).unwrap());
            workplace.run(command, 60).await.expect(code)
        };
        assert!(names(&events(&from_file(b"3+4=\n", 0).await)).ends_with(&["end"]));
        let huge = from_file(&vec![b'1'; 5 << 20], 64).await;
        assert!(
            huge.stderr.contains("standard input has more than 4194304 bytes"),
            "{}",
            huge.stderr
        );
        let large = from_file(&vec![b'1'; 2 << 20], 64).await;
        assert!(large.stderr.contains("messages is a prompt of "), "{}", large.stderr);
        assert!(from_file(b"\xff", 64).await.stderr.contains("no UTF-8"));

        // A server that hangs costs no more time than was given, one that dies in the middle is told of.
        serving.process.signal(Signal::SIGSTOP);
        let late = ask(&["3+4=", "--timeout", "1s"], 69).await;
        assert!(late.stderr.contains("longer than --timeout 1s"), "{}", late.stderr);
        let dying = async {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            serving.process.signal(Signal::SIGKILL);
        };
        let (broken, ()) = tokio::join!(ask(&["3+4="], 69), dying);
        assert_eq!(broken.stderr.lines().count(), 1, "{}", broken.stderr);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_keeps_its_conversation_and_takes_its_server_with_it() {
    within(120, async {
        let workplace = Workplace::new();
        draw_weights(&workplace);
        std::fs::write(workplace.path("model/chat_template.jinja"), TEMPLATE).unwrap();
        std::fs::create_dir(temporary(&workplace)).unwrap();
        let is_clean = || std::fs::read_dir(temporary(&workplace)).unwrap().next().is_none();
        let arguments = [&["chat", "--json", "--model", "model", "--budgets", "3"], &OWN[..]].concat();
        let chat = || Chat::start(&workplace, &arguments);
        let prompt_tokens = |text: &str| -> Vec<u64> {
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines
                .filter_map(|event| event["usage"]["prompt_tokens"].as_u64())
                .collect()
        };

        let mut talk = chat();
        talk.say("3+4=");
        talk.answers(1).await;
        talk.say("");
        talk.say("5+6=");
        talk.answers(2).await;
        talk.say("/new");
        talk.say("3+4=");
        talk.answers(3).await;
        let tokens = prompt_tokens(&talk.text());
        assert!(
            tokens[1] > tokens[0],
            "the second question has the first before it: {tokens:?}"
        );
        assert_eq!(tokens[2], tokens[0], "a new conversation has nothing before it");
        talk.say("/exit");
        assert_eq!(talk.code().await, 0, "{}", talk.text());
        drop(talk);
        workplace.assert_nothing_runs();
        assert!(is_clean());

        // The end of input ends it as well, and Ctrl-C with the code of an interruption.
        let mut talk = chat();
        talk.input.take();
        assert_eq!(talk.code().await, 0, "{}", talk.text());
        let mut talk = chat();
        talk.say("3+4=");
        talk.answers(1).await;
        kill(Pid::from_raw(talk.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        assert_eq!(talk.code().await, 130);
        assert!(talk.text().ends_with("error: SIGINT: stopped\n"), "{}", talk.text());
        workplace.assert_nothing_runs();

        // A server that dies is said to have died.
        let mut talk = chat();
        talk.say("3+4=");
        talk.answers(1).await;
        let all = workplace.mark().processes();
        let server = all.iter().find(|(_, line)| line.contains("anytime-actor")).unwrap();
        kill(Pid::from_raw(server.0), Signal::SIGKILL).unwrap();
        talk.say("5+6=");
        assert_eq!(talk.code().await, 70, "{}", talk.text());
        assert!(
            talk.text()
                .contains("error: the server of --model ended in the middle (signal: 9"),
            "{}",
            talk.text()
        );
        workplace.assert_nothing_runs();

        // What its server refuses is said in the server's words and with its code.
        let nowhere = workplace
            .anytime(&["ask", "a", "--model", "nowhere"], 60)
            .await
            .expect(64);
        assert!(
            nowhere.stderr.starts_with("error: --model nowhere: "),
            "{}",
            nowhere.stderr
        );
        assert_eq!(nowhere.stderr.lines().count(), 1, "{}", nowhere.stderr);
    })
    .await;
}
