//! The page of `anytime serve` in a real browser without a window, driven over its debugging pipe: a question is asked with
//! the mouse, and the answer, the table and the curve are looked at. Where no Chromium is installed it says so and ends.
//!
//! ```sh
//! MODEL=runs/demo/final QUESTION="3+4=" SCREENSHOT=docs/page.png \
//!     cargo test --workspace --test system browser:: -- --ignored --nocapture
//! ```
//!
//! makes the picture of the README.
#![allow(clippy::unwrap_used)]

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anytime_tests::process::Process;
use anytime_tests::programs::binary;
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::Workplace;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::serve::{Serving, draw_weights, start};

/// Names of the browser.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Everything that a browser does of itself on the network is off, and names lead nowhere.
const QUIET: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
];

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find_map(|folder| {
        BROWSERS
            .map(|name| folder.join(name))
            .into_iter()
            .find(|file| file.is_file())
    })
}

/// A browser with one page.
struct Browser {
    process: Process,
    commands: File,
    answers: File,
    read: Vec<u8>,
    next: u64,
    session: String,
    /// What the page said that nobody asked for.
    events: Vec<Value>,
}

impl Browser {
    /// Opens the page at an address.
    fn open(program: &Path, workplace: &Workplace, url: &str) -> Self {
        let (to, from) = (workplace.path("to-browser"), workplace.path("from-browser"));
        for pipe in [&to, &from] {
            mkfifo(pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        }
        // The browser reads its commands at 3 and answers at 4.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 3<\"$TO\" 4>\"$FROM\"", "sh"]);
        command.arg(program).args(QUIET);
        command.arg(format!("--user-data-dir={}", workplace.path("profile").display()));
        command.arg("--window-size=1000,1300").env("TO", &to).env("FROM", &from);
        let process = Process::start("browser", command, workplace.mark(), &workplace.path("logs"));
        // In the order in which the shell opens them.
        let commands = OpenOptions::new().write(true).open(&to).unwrap();
        let answers = File::open(&from).unwrap();
        let mut browser = Self {
            process,
            commands,
            answers,
            read: Vec::new(),
            next: 0,
            session: String::new(),
            events: Vec::new(),
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        browser.call("Page.navigate", json!({"url": url}));
        browser
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        self.commands.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let answer = self.receive();
            if answer["id"] != self.next {
                self.events.push(answer);
                continue;
            }
            assert!(answer.get("error").is_none(), "{method}: {answer}");
            return answer["result"].clone();
        }
    }

    fn receive(&mut self) -> Value {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == 0) {
                let message: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&message[..end]).unwrap();
            }
            let mut piece = vec![0; 1 << 16];
            let length = self.answers.read(&mut piece).unwrap();
            assert!(length > 0, "the browser has ended: {}", self.process.log());
            self.read.extend_from_slice(&piece[..length]);
        }
    }

    /// The value of an expression in the page.
    fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    fn text(&mut self, id: &str) -> String {
        let value = self.value(&format!("document.getElementById({id:?}).textContent"));
        value.as_str().unwrap().to_owned()
    }

    /// Waits until an expression is true.
    async fn until(&mut self, expression: &str) {
        eventually(expression, 30, async || (self.value(expression) == true).then_some(())).await;
    }

    /// Presses the mouse in the middle of an element.
    fn click(&mut self, id: &str) {
        let place = self.value(&format!(
            "(() => {{ const at = document.getElementById({id:?}); at.scrollIntoView(); const box = at.getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// What the page says of errors: exceptions, refused fetches, and what its policy forbids.
    fn complaints(&self) -> Vec<&Value> {
        let is_one = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
            _ => false,
        };
        self.events.iter().filter(is_one).collect()
    }
}

/// Asks a question, and waits until it is answered.
async fn ask(browser: &mut Browser, question: &str, budget: u32) {
    browser
        .until("(document.getElementById('model')?.textContent ?? '') !== ''")
        .await;
    browser.value(&format!(
        "(() => {{ const set = (id, value) => {{ at(id).value = value; at(id).dispatchEvent(new Event('input')); }}; \
         at('error').textContent = 'waits'; set('question', {question:?}); \
         set('budget', 100 * Math.log({budget}) / Math.log(limits.max_thinking)); }})()"
    ));
    browser.click("send");
    // The page clears it when it asks.
    browser
        .until("at('error').textContent !== 'waits' && !at('send').disabled")
        .await;
}

async fn look(program: &Path, serving: &Serving, workplace: &Workplace) {
    let mut browser = Browser::open(program, workplace, &serving.url);
    ask(&mut browser, "3+4=", 16).await;
    assert_eq!(browser.text("model"), "model");
    assert!(!browser.text("answer").is_empty());
    assert!(!browser.text("thinking").is_empty());
    assert!(browser.text("summary").contains("the thinking ended after"));
    assert_eq!(browser.text("error"), "");
    let rows = browser
        .value("document.querySelectorAll('#budgets tr').length")
        .as_u64()
        .unwrap();
    assert!((1..=8).contains(&rows), "{rows}");
    assert_eq!(browser.value("document.querySelectorAll('#curve circle').length"), rows);
    // Nothing came from elsewhere, and nothing was forbidden.
    let fetched =
        browser.value("performance.getEntriesByType('resource').every(one => one.name.startsWith(location.origin))");
    assert_eq!(fetched, true);
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());

    // The model's vocabulary cannot spell this, and whatever is said of it stays text.
    ask(&mut browser, "<img src=x onerror=alert(1)>", 4).await;
    assert!(!browser.text("error").is_empty());
    assert_eq!(browser.value("document.querySelectorAll('img').length"), 0);

    // A refusal is said in words.
    ask(&mut browser, &"1+".repeat(200), 4).await;
    assert!(
        browser.text("error").contains("at most 64"),
        "{}",
        browser.text("error")
    );
    assert_eq!(browser.value("document.getElementById('send').disabled"), false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_thinking_answer_and_curve() {
    let Some(program) = browser() else {
        eprintln!("no Chromium is installed: the page of the server of answers was not looked at");
        return;
    };
    within(120, async {
        let workplace = Workplace::new();
        draw_weights(&workplace);
        let mut serving = start(&workplace, &[]).await;
        look(&program, &serving, &workplace).await;
        assert_eq!(serving.process.terminate().await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "makes the picture of the README from a trained model"]
async fn a_picture_of_the_page() {
    let program = browser().expect("a browser");
    let given = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (model, question) = (PathBuf::from(given("MODEL")), given("QUESTION"));
    let target = PathBuf::from(given("SCREENSHOT"));
    let model = std::path::absolute(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(model)).unwrap();
    let workplace = Workplace::new();
    let port_file = workplace.path("port");
    let mut command = Command::new(binary("anytime"));
    command
        .arg("serve")
        .arg(model)
        .args(["--name", "demo", "--listen", "127.0.0.1:0", "--port-file"]);
    command.arg(&port_file);
    let mut process = Process::start("serve", command, workplace.mark(), &workplace.path("logs"));
    let read = async || std::fs::read_to_string(&port_file).ok();
    let address = eventually("the server's address", 60, read).await;
    let mut browser = Browser::open(&program, &workplace, &format!("http://{}", address.trim()));
    let largest = std::env::var("BUDGET").map_or(32, |budget| budget.parse().unwrap());
    ask(&mut browser, &question, largest).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let picture = browser.call(
        "Page.captureScreenshot",
        json!({"format": "png", "captureBeyondViewport": true}),
    );
    let png = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&target), png).unwrap();
    println!("{}: {}", target.display(), browser.text("summary"));
    drop(browser);
    assert_eq!(process.terminate().await, 0);
}
