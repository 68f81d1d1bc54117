//! Redis over the simulated network: its protocol, and what the scripts of the queue do ([`RedisModel`]).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anytime_learner::queue::groups::{PushOutcome, Settlement};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use turmoil::net::TcpStream;

use crate::models::redis_model::{Entry, RedisModel};
use crate::simulated::network::listen;
use crate::simulated::world::{World, elapsed};

pub(crate) const PORT: u16 = 6379;

/// The data of Redis. They survive a crash where the fault says so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    keys: RedisModel,
    owner: String,
    groups: BTreeMap<u64, Vec<u8>>,
    /// Who has the right to the job, and when it runs out.
    right: Option<(String, Duration)>,
    /// The scripts that were loaded, by their SHA-1. Every server that starts has none.
    scripts: BTreeMap<String, Script>,
}

#[derive(Clone, Copy, Debug)]
enum Script {
    Open,
    IsQueued,
    Push,
    Settle,
    Bury,
    Letters,
    ForgetBelow,
    Delete,
    TakeRight,
    GiveRightBack,
}

impl Script {
    /// The script that a text is, by words that no other script has.
    fn of(text: &str) -> Self {
        let has = |what: &str| text.contains(what);
        if has("'PX'") {
            Self::TakeRight
        } else if has("letters[") {
            Self::Letters
        } else if has("'buried'") {
            Self::Bury
        } else if has("'forgotten'") {
            Self::ForgetBelow
        } else if has("'HGETALL'") {
            Self::Open
        } else if has("'duplicate'") {
            Self::Push
        } else if has("'settled'") {
            Self::Settle
        } else if has("and 1 or 0") {
            Self::IsQueued
        } else if has("KEYS[1], KEYS[2], KEYS[3]") {
            Self::Delete
        } else {
            Self::GiveRightBack
        }
    }
}

enum Reply {
    Text(String),
    Error(String),
    Number(u64),
    Bytes(Vec<u8>),
    Nothing,
    List(Vec<String>),
    /// The replies to a transaction.
    Replies(Vec<Reply>),
}

impl Reply {
    fn bytes(&self) -> Vec<u8> {
        let bulk = |bytes: &[u8]| [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        let list = |items: Vec<Vec<u8>>| [format!("*{}\r\n", items.len()).into_bytes(), items.concat()].concat();
        match self {
            Self::Text(text) => format!("+{text}\r\n").into_bytes(),
            Self::Error(text) => format!("-{text}\r\n").into_bytes(),
            Self::Number(number) => format!(":{number}\r\n").into_bytes(),
            Self::Bytes(bytes) => bulk(bytes),
            Self::Nothing => b"$-1\r\n".to_vec(),
            Self::List(texts) => list(texts.iter().map(|text| bulk(text.as_bytes())).collect()),
            Self::Replies(replies) => list(replies.iter().map(Self::bytes).collect()),
        }
    }
}

impl Store {
    /// A server starts with what is on its disk.
    pub(crate) fn restart(&mut self) {
        self.scripts.clear();
    }

    fn run(&mut self, command: &[Vec<u8>]) -> Reply {
        let text = |index: usize| String::from_utf8_lossy(command.get(index).map_or(&[], Vec::as_slice)).into_owned();
        match text(0).to_ascii_uppercase().as_str() {
            "PING" => Reply::Text("PONG".to_owned()),
            "HLEN" => Reply::Number(self.keys.length()),
            "HGET" => match self.groups.get(&text(2).parse().unwrap()) {
                Some(group) => Reply::Bytes(group.clone()),
                None => Reply::Nothing,
            },
            // Only the script behind it decides whether the group stays.
            "HSETNX" => {
                let group = || command[3].clone();
                self.groups.entry(text(2).parse().unwrap()).or_insert_with(group);
                Reply::Number(1)
            }
            "SCRIPT" => {
                let sha = sha1_smol::Sha1::from(&command[2]).digest().to_string();
                self.scripts.insert(sha.clone(), Script::of(&text(2)));
                Reply::Bytes(sha.into_bytes())
            }
            "EVALSHA" => match self.scripts.get(&text(1)).copied() {
                // No actor of the simulation delivers what cannot be trained.
                Some(Script::Letters) => Reply::List(Vec::new()),
                Some(script) => {
                    let keys: usize = text(2).parse().unwrap();
                    self.script(script, &command[3 + keys..])
                }
                None => Reply::Error("NOSCRIPT No matching script".to_owned()),
            },
            _ => Reply::Text("OK".to_owned()),
        }
    }

    fn holder(&mut self) -> Option<String> {
        if self.right.as_ref().is_some_and(|(_, until)| *until <= elapsed()) {
            self.right = None;
        }
        self.right.as_ref().map(|(holder, _)| holder.clone())
    }

    fn script(&mut self, script: Script, arguments: &[Vec<u8>]) -> Reply {
        let texts: Vec<String> = arguments
            .iter()
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect();
        let number = |index: usize| texts[index].parse::<u64>().unwrap();
        let first_word = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
        let holder = self.holder();
        let own = match script {
            Script::TakeRight | Script::GiveRightBack => texts[0].clone(),
            _ => texts.last().cloned().unwrap_or_default(),
        };
        let other = holder.filter(|holder| first_word(holder) != first_word(&own));
        match (script, other) {
            (Script::TakeRight, Some(other)) => return Reply::Bytes(other.into_bytes()),
            (Script::TakeRight, None) => {
                self.right = Some((own, elapsed() + Duration::from_millis(number(1))));
                return Reply::Bytes(Vec::new());
            }
            (Script::GiveRightBack, None) => {
                self.right = None;
                return Reply::Bytes(Vec::new());
            }
            (Script::GiveRightBack, Some(_)) => return Reply::Bytes(Vec::new()),
            (_, Some(other)) => {
                self.keep_queued();
                return Reply::Error(format!("FENCED {other}"));
            }
            (_, None) => {}
        }
        if self.owner != texts[0] {
            self.keys = RedisModel::default();
        }
        let reply = match script {
            Script::Open => {
                self.owner.clone_from(&texts[0]);
                self.keys.open();
                let mut list = vec!["owner".to_owned(), self.owner.clone()];
                for (sequence, entry) in &self.keys.seen {
                    let value = match entry {
                        Entry::Queued(_) => "queued",
                        Entry::Trained => "trained",
                        Entry::Stale => "stale",
                        Entry::Skipped => "skipped",
                    };
                    list.extend([sequence.to_string(), value.to_owned()]);
                }
                Reply::List(list)
            }
            Script::IsQueued => Reply::Number(self.keys.read(number(1)).is_some().into()),
            Script::Push => {
                let text = match self.keys.push(number(1), 0, number(2), number(3)) {
                    PushOutcome::Accepted => "accepted",
                    PushOutcome::Duplicate => "duplicate",
                    PushOutcome::Full => "full",
                    PushOutcome::KeysGone => "foreign",
                };
                Reply::Bytes(text.into())
            }
            Script::Settle => {
                let settlement = match texts[1].as_str() {
                    "trained" => Settlement::Trained,
                    "stale" => Settlement::Stale,
                    "skipped" => Settlement::Skipped,
                    _ => Settlement::Forgotten,
                };
                let sequences: Vec<u64> = (2..texts.len() - 1).map(number).collect();
                let is_there = self.keys.settle(&sequences, settlement).is_ok();
                Reply::Bytes(if is_there { "settled" } else { "foreign" }.into())
            }
            Script::Bury => {
                let is_there = self.keys.settle(&[number(2)], Settlement::Skipped).is_ok();
                Reply::Bytes(if is_there { "buried" } else { "foreign" }.into())
            }
            Script::ForgetBelow => {
                let below = number(1);
                let is_known = |sequence: &u64, entry: &Entry| *sequence >= below || matches!(entry, Entry::Queued(_));
                self.keys.seen.retain(|sequence, entry| is_known(sequence, entry));
                Reply::Bytes("forgotten".into())
            }
            Script::Letters => Reply::List(Vec::new()),
            Script::Delete => {
                self.keys = RedisModel::default();
                Reply::Number(1)
            }
            Script::TakeRight | Script::GiveRightBack => Reply::Nothing,
        };
        self.keep_queued();
        reply
    }

    fn keep_queued(&mut self) {
        let queued = self.keys.queued();
        self.groups.retain(|sequence, _| queued.contains(sequence));
    }
}

pub(crate) async fn serve(world: Arc<World>) -> turmoil::Result {
    world.redis.lock().unwrap().restart();
    let listener = listen(PORT).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream, world.clone()));
    }
}

async fn answer(stream: TcpStream, world: Arc<World>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut transaction: Option<Vec<Vec<Vec<u8>>>> = None;
    while let Some(command) = read_command(&mut stream).await? {
        let reply = match (command[0].as_slice(), transaction.take()) {
            (b"MULTI", _) => {
                transaction = Some(Vec::new());
                Reply::Text("OK".to_owned())
            }
            (b"EXEC", Some(commands)) => {
                let mut store = world.redis.lock().unwrap();
                Reply::Replies(commands.iter().map(|command| store.run(command)).collect())
            }
            (_, Some(mut commands)) => {
                commands.push(command);
                transaction = Some(commands);
                Reply::Text("QUEUED".to_owned())
            }
            (_, None) => world.redis.lock().unwrap().run(&command),
        };
        stream.get_mut().write_all(&reply.bytes()).await?;
    }
    Ok(())
}

/// A command is a list of texts.
async fn read_command(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some(count) = read_length(stream).await? else {
        return Ok(None);
    };
    let mut command = Vec::new();
    for _ in 0..count {
        let length = read_length(stream).await?.unwrap_or(0);
        let mut bytes = vec![0; length + 2];
        stream.read_exact(&mut bytes).await?;
        bytes.truncate(length);
        command.push(bytes);
    }
    Ok(Some(command))
}

async fn read_length(stream: &mut BufReader<TcpStream>) -> io::Result<Option<usize>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    line.trim_end()
        .get(1..)
        .and_then(|digits| digits.parse().ok())
        .map(Some)
        .ok_or_else(invalid)
}
