//! A hub on this machine: it speaks as much of the hub's HTTP interface as is used, and misbehaves where a test asks for
//! it. Another address of the same process stands for the host of large files that a hub redirects to.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test uses a part of it, and a test may panic"
)]

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, LINK, LOCATION, RANGE, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Files of at least this size are kept by LFS, and given out by the other host.
pub const LARGE: usize = 1000;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What goes wrong with one answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, with the header `x-error-code` where it is not empty.
    Status(u16, &'static str),
    /// 429 with this `Retry-After`.
    TooMany(&'static str),
    /// The connection ends after so many bytes of the body.
    CutAfter(usize),
    /// Nothing comes behind so many bytes, but the connection stays.
    SilentAfter(usize),
    /// No answer at all.
    Silent,
    /// So many bytes a piece, with this pause before each.
    Slow(usize, Duration),
    /// The whole file, whatever range is asked for.
    WithoutRange,
    /// Other bytes of the same length.
    Wrong,
    /// More bytes than there are.
    TooLong,
    /// A redirect to this address.
    Redirect(String),
    /// This body with status 200.
    Says(String),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub host: SocketAddr,
    pub path: String,
    pub token: Option<String>,
    pub range: Option<String>,
}

#[derive(Default)]
pub struct State {
    /// `OWNER/NAME` or `datasets/OWNER/NAME`, and its files.
    pub repositories: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Branches and tags.
    pub revisions: BTreeMap<String, String>,
    /// Faults of the next answers for paths that end like this.
    pub faults: Vec<(String, VecDeque<Fault>)>,
    /// Only callers with this token see anything.
    pub token: Option<String>,
    /// Entries of one page of a listing.
    pub page: usize,
    /// Entries that no file stands behind.
    pub listed: Vec<String>,
    pub seen: Vec<Seen>,
}

pub struct FakeHub {
    pub hub: SocketAddr,
    pub files: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Its end ends the servers.
    runtime: Option<tokio::runtime::Runtime>,
}

impl FakeHub {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        // Bound without waiting, because a test may be a task of a runtime of its own.
        let bind = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let (hub, files) = (bind(), bind());
        let addresses = (hub.local_addr().unwrap(), files.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            page: 1000,
            revisions: BTreeMap::from([("main".to_owned(), COMMIT.to_owned())]),
            ..State::default()
        }));
        for listener in [hub, files] {
            runtime.spawn(serve(listener, state.clone(), addresses));
        }
        Self {
            hub: addresses.0,
            files: addresses.1,
            state,
            runtime: Some(runtime),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.hub)
    }

    /// Adds a file to a repository.
    pub fn add(&self, repository: &str, path: &str, content: impl Into<Vec<u8>>) {
        let mut state = self.state();
        let files = state.repositories.entry(repository.to_owned()).or_default();
        files.insert(path.to_owned(), content.into());
    }

    /// Adds all files of a directory.
    pub fn add_directory(&self, repository: &str, directory: &Path) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            self.add(repository, name, std::fs::read(&path).unwrap());
        }
    }

    /// What goes wrong with the next answers for paths that end like this.
    pub fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().collect();
        self.state().faults.push((path.to_owned(), faults));
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// The requests so far for paths that end like this, on any host.
    pub fn seen_of(&self, path: &str) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|request| request.path.ends_with(path));
        seen
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<Mutex<State>>, addresses: (SocketAddr, SocketAddr)) {
    let listener = TcpListener::from_std(listener).unwrap();
    let host = listener.local_addr().unwrap();
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            return;
        };
        let state = state.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let state = state.clone();
            async move { Ok::<_, Infallible>(answer(&request, &state, host, addresses).await) }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service));
    }
}

pub fn sha256(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub fn git_id(content: &[u8]) -> String {
    let mut sha = sha1_smol::Sha1::new();
    sha.update(format!("blob {}\0", content.len()).as_bytes());
    sha.update(content);
    sha.digest().to_string()
}

fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

fn status(code: u16, error: &str) -> Response<Body> {
    let mut response = Response::new(whole("{\"error\":\"no\"}"));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    if !error.is_empty() {
        response.headers_mut().insert("x-error-code", error.parse().unwrap());
    }
    response
}

async fn answer(
    request: &Request<Incoming>,
    state: &Mutex<State>,
    host: SocketAddr,
    (hub, files): (SocketAddr, SocketAddr),
) -> Response<Body> {
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let path = percent_decoded(request.uri().path());
    let range = header(RANGE);
    let fault = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen {
            host,
            path: path.clone(),
            token: header(AUTHORIZATION),
            range: range.clone(),
        });
        // A large file is at fault where it is given out, and not where the redirect comes from.
        let is_redirected = host == hub && path.contains("/resolve/") && is_large(&state, &path);
        let mut planned = state.faults.iter_mut();
        let planned =
            planned.find(|(end, faults)| !is_redirected && path.ends_with(end.as_str()) && !faults.is_empty());
        planned.and_then(|(_, faults)| faults.pop_front())
    };
    match &fault {
        Some(Fault::Status(code, error)) => return status(*code, error),
        Some(Fault::TooMany(pause)) => {
            let mut response = status(429, "");
            if !pause.is_empty() {
                response.headers_mut().insert(RETRY_AFTER, pause.parse().unwrap());
            }
            return response;
        }
        Some(Fault::Silent) => std::future::pending::<()>().await,
        Some(Fault::Redirect(target)) => return redirect(target),
        Some(Fault::Says(text)) => return Response::new(whole(text.clone())),
        _ => {}
    }
    let state = state.lock().unwrap();
    if host == hub && state.token.is_some() && state.token != header(AUTHORIZATION) {
        return status(401, "RepoNotFound");
    }
    if let Some(rest) = path.strip_prefix("/api/") {
        return api(&state, rest, request.uri().query().unwrap_or_default(), hub);
    }
    let Some((repository, rest)) = path.trim_start_matches('/').split_once("/resolve/") else {
        return status(404, "");
    };
    let content = rest
        .split_once('/')
        .and_then(|(_, file)| state.repositories.get(repository)?.get(file));
    let Some(content) = content else {
        return status(404, "EntryNotFound");
    };
    let is_redirected = host == hub && content.len() >= LARGE;
    let mut response = if is_redirected {
        redirect(&format!("http://{files}{}?signature=secret", request.uri().path()))
    } else {
        give(content, range.as_deref(), fault)
    };
    // What Python asks for by HEAD.
    let headers = response.headers_mut();
    let checksum = if content.len() >= LARGE {
        sha256(content)
    } else {
        git_id(content)
    };
    headers.insert("x-repo-commit", COMMIT.parse().unwrap());
    headers.insert("x-linked-size", content.len().into());
    headers.insert("x-linked-etag", format!("\"{checksum}\"").parse().unwrap());
    headers.insert("etag", format!("\"{checksum}\"").parse().unwrap());
    response
}

fn is_large(state: &State, path: &str) -> bool {
    let found = path.trim_start_matches('/').split_once("/resolve/");
    let content = found.and_then(|(repository, rest)| state.repositories.get(repository)?.get(rest.split_once('/')?.1));
    content.is_some_and(|content| content.len() >= LARGE)
}

fn redirect(target: &str) -> Response<Body> {
    let mut response = status(302, "");
    response.headers_mut().insert(LOCATION, target.parse().unwrap());
    response
}

fn api(state: &State, rest: &str, query: &str, hub: SocketAddr) -> Response<Body> {
    let parts: Vec<&str> = rest.splitn(5, '/').collect();
    let [kind, owner, name, what, revision] = parts[..] else {
        return status(404, "");
    };
    let repository = match kind {
        "models" => format!("{owner}/{name}"),
        _ => format!("{kind}/{owner}/{name}"),
    };
    let Some(files) = state.repositories.get(&repository) else {
        return status(404, "RepoNotFound");
    };
    let commit = state.revisions.get(revision).cloned();
    let is_commit = state.revisions.values().any(|commit| commit == revision);
    let Some(commit) = commit.or_else(|| is_commit.then(|| revision.to_owned())) else {
        return status(404, "RevisionNotFound");
    };
    if what == "revision" {
        let siblings: Vec<String> = files
            .keys()
            .map(|path| format!("{{\"rfilename\":\"{}\"}}", escaped(path)))
            .collect();
        let siblings = siblings.join(",");
        return Response::new(whole(format!(
            "{{\"id\":\"{owner}/{name}\",\"sha\":\"{commit}\",\"siblings\":[{siblings}]}}"
        )));
    }
    let mut entries = vec![format!(
        "{{\"type\":\"directory\",\"oid\":\"{}\",\"size\":0,\"path\":\"folder\"}}",
        git_id(b"")
    )];
    for (path, content) in files {
        let (path, size, oid) = (escaped(path), content.len(), git_id(content));
        entries.push(if size >= LARGE {
            let sha = sha256(content);
            format!(
                "{{\"type\":\"file\",\"oid\":\"{oid}\",\"size\":{size},\"path\":\"{path}\",\
                 \"lfs\":{{\"oid\":\"{sha}\",\"size\":{size},\"pointerSize\":130}}}}"
            )
        } else {
            format!("{{\"type\":\"file\",\"oid\":\"{oid}\",\"size\":{size},\"path\":\"{path}\"}}")
        });
    }
    entries.extend(state.listed.iter().cloned());
    let from = query
        .split('&')
        .find_map(|part| part.strip_prefix("cursor=")?.parse().ok())
        .unwrap_or(0);
    let page = &entries[from..entries.len().min(from + state.page)];
    let mut response = Response::new(whole(format!("[{}]", page.join(","))));
    if from + page.len() < entries.len() {
        let next = format!(
            "<http://{hub}/api/{rest}?recursive=true&cursor={}>; rel=\"next\"",
            from + page.len()
        );
        response.headers_mut().insert(LINK, next.parse().unwrap());
    }
    response
}

fn give(content: &[u8], range: Option<&str>, fault: Option<Fault>) -> Response<Body> {
    let from = range
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok())
        .filter(|_| !matches!(fault, Some(Fault::WithoutRange)))
        .unwrap_or(0);
    if from > 0 && from >= content.len() {
        return status(416, "");
    }
    let mut bytes = content[from..].to_vec();
    let length = bytes.len();
    let mut pieces: VecDeque<(Duration, Bytes)> = VecDeque::new();
    let now = Duration::ZERO;
    let mut announced = length;
    let mut end = End::Whole;
    match fault {
        Some(Fault::CutAfter(cut)) => {
            bytes.truncate(cut);
            pieces.push_back((now, bytes.into()));
            end = End::Broken;
        }
        Some(Fault::SilentAfter(cut)) => {
            bytes.truncate(cut);
            pieces.push_back((now, bytes.into()));
            end = End::Silent;
        }
        Some(Fault::Slow(size, pause)) => {
            pieces.extend(bytes.chunks(size).map(|piece| (pause, Bytes::copy_from_slice(piece))));
        }
        Some(Fault::Wrong) => {
            bytes[0] ^= 1;
            pieces.push_back((now, bytes.into()));
        }
        Some(Fault::TooLong) => {
            bytes.extend_from_slice(b"more");
            announced += 4;
            pieces.push_back((now, bytes.into()));
        }
        _ => pieces.push_back((now, bytes.into())),
    }
    let stream = futures::stream::unfold((pieces, end), |(mut pieces, end)| async move {
        match (pieces.pop_front(), end) {
            (Some((pause, piece)), end) => {
                tokio::time::sleep(pause).await;
                Some((Ok(Frame::data(piece)), (pieces, end)))
            }
            (None, End::Whole) => None,
            (None, End::Broken) => {
                // An error takes along what has not been sent yet.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Err(std::io::Error::other("cut")), (pieces, End::Whole)))
            }
            (None, End::Silent) => std::future::pending().await,
        }
    });
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(stream)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, announced.into());
    if from > 0 {
        let text = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
        headers.insert(CONTENT_RANGE, text.parse().unwrap());
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

#[derive(Clone, Copy)]
enum End {
    Whole,
    Broken,
    Silent,
}

fn escaped(path: &str) -> String {
    path.replace('\\', "\\\\").replace('"', "\\\"")
}

fn percent_decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits: String = rest.by_ref().take(2).map(char::from).collect();
        bytes.push(u8::from_str_radix(&digits, 16).unwrap());
    }
    String::from_utf8(bytes).unwrap()
}
